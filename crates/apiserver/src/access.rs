//! Who asks, and what they may do: users, the tokens of service accounts, and what RBAC objects grant. Pure, apart from the
//! randomness that a signature needs.

mod grants;
mod token;

use serde_json::{Value, json};

pub(crate) use self::grants::{Attributes, Grants};
pub use self::token::TokenError;
pub(crate) use self::token::{Claims, ISSUER, Signer};

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// Name, as RBAC knows it.
    pub(crate) name: String,
    /// Identifier; empty if it has none.
    pub(crate) uid: String,
    /// Groups that the user is in.
    pub(crate) groups: Vec<String>,
    /// The token that the user came with, if it was a service account's.
    pub(crate) token_id: String,
}

impl User {
    /// Who holds the server's own token.
    pub(crate) fn admin() -> Self {
        let groups = vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()];
        Self { name: "admin".into(), uid: "admin".into(), groups, ..Self::default() }
    }

    /// A service account.
    pub(crate) fn account(claims: &Claims) -> Self {
        let groups = vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", claims.namespace),
            AUTHENTICATED.to_owned(),
        ];
        Self {
            name: format!("system:serviceaccount:{}:{}", claims.namespace, claims.name),
            uid: claims.uid.clone(),
            groups,
            token_id: claims.id.clone(),
        }
    }

    /// Somebody whom another user speaks for.
    pub(crate) fn impersonated(name: &str, groups: Vec<String>) -> Self {
        let mut groups = groups;
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// As reviews show it.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.token_id.is_empty() {
            let id = format!("JTI={}", self.token_id);
            info["extra"] = json!({"authentication.kubernetes.io/credential-id": [id]});
        }
        info
    }
}
