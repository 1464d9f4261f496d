//! Who asks, and what they may do: users, the tokens of service accounts, and what RBAC objects grant. Pure, apart from the
//! randomness that a signature needs.

mod escalation;
mod grants;
mod token;

use serde_json::{Value, json};

pub(crate) use self::escalation::{Denial, Guard};
pub(crate) use self::grants::{Attributes, Decision, Grants, RBAC, RoleRef};
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

    /// Who comes without a token, where there are rights for such people.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..Self::default()
        }
    }

    /// A service account.
    pub(crate) fn account(claims: &Claims) -> Self {
        let mut groups = account_groups(&claims.namespace);
        groups.push(AUTHENTICATED.to_owned());
        Self {
            name: format!("system:serviceaccount:{}:{}", claims.namespace, claims.name),
            uid: claims.uid.clone(),
            groups,
            token_id: claims.id.clone(),
        }
    }

    /// Somebody whom another user speaks for. A service account is in its groups whoever names it; with groups that are given it is in those
    /// alone.
    pub(crate) fn impersonated(name: &str, groups: Vec<String>) -> Self {
        let mut groups = groups;
        let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        if let Some((namespace, _)) = account.filter(|_| groups.is_empty()) {
            groups = account_groups(namespace);
        }
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// True for those who may do everything, whatever roles say.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
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

/// The groups of the service accounts of a namespace.
fn account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
