//! From a request to the user who sent it, by the server's own token or by one of a service account; and for whom that user speaks.

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Request};
use jiff::Timestamp;

use crate::access::{Claims, Signer, User};
use crate::api::Api;

/// Knows the tokens that are good.
pub(crate) struct Authenticator {
    admin: String,
    signer: Signer,
}

impl Authenticator {
    /// `admin` is the token of the server's own user.
    pub(crate) fn new(admin: &str, signer: Signer) -> Self {
        Self { admin: admin.into(), signer }
    }

    /// Who signs the tokens of service accounts.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The user who sent `request`; `None` without a token that is good.
    pub(super) fn user<B>(&self, api: &Api, request: &Request<B>) -> Option<User> {
        let given = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = given.split_once(' ')?;
        self.holder(api, token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }

    /// Who holds `token`.
    pub(super) fn holder(&self, api: &Api, token: &str) -> Option<User> {
        if is_same(token.as_bytes(), self.admin.as_bytes()) {
            return Some(User::admin());
        }
        self.claims(api, token).map(|claims| User::account(&claims))
    }

    /// What the token of a service account says; a token of an account or a pod that is gone is void.
    pub(super) fn claims(&self, api: &Api, token: &str) -> Option<Claims> {
        let claims = self.signer.read(token, Timestamp::now().as_second())?;
        let is_there = |plural: &str, name: &str, uid: &str| {
            api.uid_of(plural, &claims.namespace, name).ok().flatten().is_some_and(|found| found == uid)
        };
        if !is_there("serviceaccounts", &claims.name, &claims.uid) {
            return None;
        }
        match &claims.bound {
            Some((kind, name, uid)) if kind == "pod" && !is_there("pods", name, uid) => None,
            _ => Some(claims),
        }
    }
}

/// True if the request comes with a token, be it good or not.
pub(super) fn has_token<B>(request: &Request<B>) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    given
        .and_then(|given| given.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
}

/// Compares in a time that does not depend on where the first difference is.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// For whom a request speaks, if not for its sender.
pub(super) fn spoken_for(headers: &HeaderMap) -> Option<User> {
    let name = headers.get("impersonate-user")?.to_str().ok()?;
    let groups = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
    Some(User::impersonated(name, groups.map(str::to_owned).collect()))
}
