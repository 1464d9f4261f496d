//! What can go wrong with a request, before it is known what the request was for.

use super::attrs::{self, Attrs};
use crate::{Errno, KernelError};

/// Flag of an acknowledgement: explanations follow (include/uapi/linux/netlink.h).
const NLM_F_ACK_TLVS: u16 = 0x200;
/// The explanation's text.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The kernel refused.
    Refused { errno: Errno, detail: Option<String> },
    /// The answer could not be had or understood.
    Talk(String),
}

impl Fault {
    /// A refusal with an explanation of our own.
    pub(crate) fn refused(errno: Errno, detail: impl Into<String>) -> Self {
        Self::Refused { errno, detail: Some(detail.into()) }
    }

    /// A failed system call.
    pub(crate) fn io(error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::Refused { errno: Errno(code), detail: None },
            None => Self::Talk(error.to_string()),
        }
    }

    /// Whether the kernel refused with this number.
    pub(crate) fn is(&self, wanted: Errno) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == wanted)
    }

    /// The error for people, who need to know what was asked.
    pub(crate) fn about(self, what: impl ToString) -> KernelError {
        let what = what.to_string();
        match self {
            Self::Refused { errno, detail } => KernelError::Refused { what, errno, detail },
            Self::Talk(why) => KernelError::Talk { what, why },
        }
    }
}

/// Where the explanation stands: in an error behind the number and the request's header.
pub(super) const AFTER_ERROR: usize = 20;
/// Where it stands at the end of a dump: behind the number.
pub(super) const AFTER_DONE: usize = 4;

/// Reads the payload of an error (an acknowledgement if its number is zero) or of the end of a dump.
pub(super) fn read_error(payload: &[u8], flags: u16, explained_at: usize) -> Result<(), Fault> {
    let code = attrs::i32(payload).unwrap_or_default();
    if code >= 0 {
        return Ok(());
    }
    let explained = flags & NLM_F_ACK_TLVS != 0;
    let text = Attrs::after(payload, explained_at).get(NLMSGERR_ATTR_MSG).and_then(attrs::text);
    let detail = text.filter(|_| explained).map(str::to_owned);
    Err(Fault::Refused { errno: Errno(code.saturating_neg()), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, explained_at: usize) -> Vec<u8> {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.resize(explained_at, 0xff);
        bytes.extend([7, 0, 1, 0, b'n', b'o', 0, 0]);
        bytes
    }

    #[test]
    fn zero_is_an_acknowledgement() {
        assert_eq!(read_error(&[0; 20], 0, AFTER_ERROR), Ok(()));
    }

    #[test]
    fn the_kernels_words_are_kept_in_errors_and_at_the_end_of_dumps() {
        for at in [AFTER_ERROR, AFTER_DONE] {
            let fault = read_error(&error(-19, at), NLM_F_ACK_TLVS, at).unwrap_err();
            assert_eq!(fault, Fault::refused(Errno::ENODEV, "no"), "{at}");
        }
        let silent = read_error(&error(-19, AFTER_ERROR), 0, AFTER_ERROR).unwrap_err();
        assert_eq!(silent, Fault::Refused { errno: Errno::ENODEV, detail: None });
    }
}
