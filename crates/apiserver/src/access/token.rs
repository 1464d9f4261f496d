//! Tokens of service accounts: JSON web tokens (RFC 7519) signed with the server's own key (ES256).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::json::{integer, items, text};

/// Who issues the tokens, and whom they are for unless somebody else is named.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What can go wrong with the key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key is none of the kind that signs.
    #[error("the key of service account tokens cannot be used")]
    Key,
    /// There was no randomness to sign with.
    #[error("a service account token cannot be signed")]
    Sign,
}

/// What a token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Namespace of the account.
    pub(crate) namespace: String,
    /// Name of the account.
    pub(crate) name: String,
    /// Uid of the account: the token of one that was made anew is void.
    pub(crate) uid: String,
    /// Whom the token is for.
    pub(crate) audiences: Vec<String>,
    /// Seconds since 1970 at which it was issued.
    pub(crate) issued: i64,
    /// Seconds since 1970 from which on it is void.
    pub(crate) expires: i64,
    /// The token's own identifier.
    pub(crate) id: String,
    /// Kind, name and uid of the object that it is bound to.
    pub(crate) bound: Option<(String, String, String)>,
}

impl Claims {
    fn to_json(&self) -> Value {
        let mut place = json!({
            "namespace": self.namespace,
            "serviceaccount": {"name": self.name, "uid": self.uid},
        });
        if let Some((kind, name, uid)) = &self.bound {
            place[kind.to_lowercase()] = json!({"name": name, "uid": uid});
        }
        json!({
            "aud": self.audiences, "exp": self.expires, "iat": self.issued, "nbf": self.issued, "iss": ISSUER,
            "jti": self.id, "kubernetes.io": place,
            "sub": format!("system:serviceaccount:{}:{}", self.namespace, self.name),
        })
    }

    fn read(claims: &Value) -> Self {
        let own = |path: &str| text(&claims["kubernetes.io"], path).to_owned();
        let bound = ["pod", "secret", "node"].into_iter().find_map(|kind| {
            let name = own(&format!("{kind}.name"));
            (!name.is_empty()).then(|| (kind.to_owned(), name, own(&format!("{kind}.uid"))))
        });
        Self {
            namespace: own("namespace"),
            name: own("serviceaccount.name"),
            uid: own("serviceaccount.uid"),
            audiences: items(claims, "aud").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            issued: integer(claims, "iat").unwrap_or(0),
            expires: integer(claims, "exp").unwrap_or(0),
            id: text(claims, "jti").into(),
            bound,
        }
    }
}

/// Signs and checks tokens.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl Signer {
    /// From a private key in PKCS #8.
    pub(crate) fn new(pkcs8: &[u8]) -> Result<Self, TokenError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
        let key = key.map_err(|_| TokenError::Key)?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.public_key().as_ref()));
        Ok(Self { key, random, id })
    }

    /// A token that says `claims`.
    pub(crate) fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims.to_json()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| TokenError::Sign)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says; `None` if it is not ours, was tampered with, or is not good at `now` (seconds since 1970).
    pub(crate) fn read(&self, token: &str, now: i64) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if text(&claims, "iss") != ISSUER {
            return None;
        }
        let claims = Claims::read(&claims);
        (claims.issued <= now && now < claims.expires).then_some(claims)
    }

    /// The public key, as programs that check tokens by themselves fetch it (RFC 7517).
    pub(crate) fn public_keys(&self) -> Value {
        // An uncompressed point: a byte that says so, then both coordinates.
        let point = self.key.public_key().as_ref();
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + 32).unwrap_or_default());
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "alg": "ES256", "crv": "P-256",
            "x": coordinate(1), "y": coordinate(33),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            namespace: "a".into(),
            name: "b".into(),
            uid: "u".into(),
            audiences: vec![ISSUER.into()],
            issued: 100,
            expires: 200,
            id: "i".into(),
            bound: Some(("pod".into(), "p".into(), "pu".into())),
        }
    }

    #[test]
    fn a_token_says_what_it_was_issued_for_while_it_is_good() {
        let signer = signer();
        let token = signer.issue(&claims()).unwrap();
        assert_eq!(signer.read(&token, 150), Some(claims()));
        assert_eq!((signer.read(&token, 99), signer.read(&token, 200)), (None, None));
    }

    #[test]
    fn foreign_and_changed_tokens_are_void() {
        let (ours, theirs) = (signer(), signer());
        assert_eq!(ours.read(&theirs.issue(&claims()).unwrap(), 150), None);
        let token = ours.issue(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = Claims { name: "admin".into(), ..claims() };
        let payload = URL_SAFE_NO_PAD.encode(other.to_json().to_string());
        assert_eq!(ours.read(&[parts[0], &payload, parts[2]].join("."), 150), None);
        for nonsense in ["", ".", "..", "a.b.c", "x"] {
            assert_eq!(ours.read(nonsense, 150), None);
        }
    }
}
