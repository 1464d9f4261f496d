//! whereabouts' way of handing out addresses (spec/whereabouts.md): ranges, names of objects, and who gets which address. Pure; the
//! objects are written elsewhere.

mod names;
mod pool;
mod range;
mod slices;
mod stale;

pub use names::{pool_name, reservation_name};
pub use pool::{Chosen, Holder, Holders, choose};
pub use range::{Range, RangeError, RangeText};
pub use slices::{Slice, SliceError, cut, hand_out};
pub use stale::{KnownPod, is_stale};
