//! The token of a service account, from the file in which kubelet renews it. What surrounds it is no part of it: an editor, or a controller of
//! somebody's own, ends the file with a newline, and client-go takes that off.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use kube::client::AuthError;

/// After so long the file is read again.
const FRESH: Duration = Duration::from_secs(60);

/// Signs requests.
#[derive(Clone)]
pub(crate) struct TokenFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// The header, and when it was read.
    header: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or holds what cannot be sent.
    pub(crate) fn open(path: PathBuf) -> Result<Self, AuthError> {
        let header = read(&path).map_err(|why| AuthError::ReadTokenFile(why, path.clone()))?;
        Ok(Self(Arc::new(Shared { path, header: Mutex::new((header, Instant::now())) })))
    }

    /// The request with the token of now.
    pub(crate) fn sign<B>(&self, mut request: Request<B>) -> Request<B> {
        request.headers_mut().insert(AUTHORIZATION, self.header(Instant::now()));
        request
    }

    /// A file that cannot be read for a moment leaves the token that was in it.
    fn header(&self, now: Instant) -> HeaderValue {
        let mut known = self.0.header.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(known.1) >= FRESH
            && let Ok(header) = read(&self.0.path)
        {
            *known = (header, now);
        }
        known.0.clone()
    }
}

fn read(path: &PathBuf) -> io::Result<HeaderValue> {
    let text = fs::read_to_string(path)?;
    let header = HeaderValue::try_from(format!("Bearer {}", text.trim()));
    let mut header = header.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_the_token_is_not_sent_and_a_new_one_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(TokenFile::open(path.clone()).is_err());
        fs::write(&path, "first\n").unwrap();
        let token = TokenFile::open(path.clone()).unwrap();
        assert_eq!(token.sign(Request::new(())).headers()[AUTHORIZATION], "Bearer first");
        fs::write(&path, " second\r\n\n").unwrap();
        let now = Instant::now();
        assert_eq!(token.header(now), "Bearer first", "not each time");
        assert_eq!(token.header(now + FRESH), "Bearer second");
        fs::write(&path, "two\nlines").unwrap();
        assert_eq!(token.header(now + FRESH * 3), "Bearer second");
        fs::remove_file(&path).unwrap();
        assert_eq!(token.header(now + FRESH * 5), "Bearer second");
    }
}
