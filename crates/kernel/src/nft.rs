//! nf_tables: stub until the encoder lands.
use crate::netlink::{Fault, Socket};
use polynic_net::{Change, FwObject, FwTable};
pub(crate) fn apply(_: &mut Socket, _: &[Change]) -> Result<(), Fault> {
    Err(Fault::Talk("no firewall yet".into()))
}
pub(crate) fn observe(_: &mut Socket, _: &FwTable) -> Result<Vec<FwObject>, Fault> {
    Ok(Vec::new())
}
