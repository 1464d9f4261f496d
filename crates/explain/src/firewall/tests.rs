use polynic_net::stack::{Element, Ruleset, SeenOp, SeenRule, SeenSet, VERDICT_REGISTER};
use polynic_net::{FwBase, FwTable};

use super::*;

const SADDR: SeenOp = SeenOp::Payload { base: 1, offset: 12, len: 4, to: 0 };
const DPORT: SeenOp = SeenOp::Payload { base: 2, offset: 2, len: 2, to: 0 };

fn equal(value: &[u8]) -> SeenOp {
    SeenOp::Cmp { op: 0, from: 0, value: value.to_vec() }
}

fn rule(handle: u64, ops: &[SeenOp]) -> SeenRule {
    SeenRule { handle, comment: String::new(), ops: ops.to_vec() }
}

fn table() -> FwTable {
    FwTable::new(FwFamily::Inet, "t")
}

fn base(kind: FwKind, hook: FwHook, rules: Vec<SeenRule>) -> SeenChain {
    let base = Some(FwBase { kind, hook, priority: 0 });
    SeenChain { table: table(), name: "c".into(), base, drops: false, rules }
}

fn stack(chains: Vec<SeenChain>, sets: Vec<SeenSet>) -> Stack {
    Stack { ruleset: Ruleset { chains, sets }, ..Stack::default() }
}

fn flow() -> Flow {
    let mut flow = Flow::to("10.0.0.9".parse().unwrap(), Some(80));
    flow.src = Some("10.0.0.1".parse().unwrap());
    flow
}

fn forward(stack: &Stack, flow: &mut Flow) -> Passage {
    pass(stack, FwHook::Forward, Links::default(), flow, &mut Connection::default())
}

#[test]
fn a_rule_about_the_packet_drops_it_and_another_does_not() {
    let drops = |from: [u8; 4]| {
        let ops = [SADDR, equal(&from), SeenOp::Verdict(FwVerdict::Drop)];
        stack(vec![base(FwKind::Filter, FwHook::Forward, vec![rule(7, &ops)])], vec![])
    };
    let dropped = forward(&drops([10, 0, 0, 1]), &mut flow()).dropped.unwrap();
    assert_eq!(dropped.to_string(), "table inet t chain c handle 7");
    assert_eq!(forward(&drops([10, 0, 0, 2]), &mut flow()).dropped, None);
}

#[test]
fn a_chain_that_drops_by_default_spares_what_it_accepts() {
    let accept = [DPORT, equal(&80_u16.to_be_bytes()), SeenOp::Verdict(FwVerdict::Accept)];
    let chain = SeenChain { drops: true, ..base(FwKind::Filter, FwHook::Forward, vec![rule(1, &accept)]) };
    let stack = stack(vec![chain], vec![]);
    assert_eq!(forward(&stack, &mut flow()).dropped, None);
    let mut other = Flow { port: Some(81), ..flow() };
    assert_eq!(forward(&stack, &mut other).dropped.unwrap().handle, None);
}

#[test]
fn a_rule_that_cannot_be_judged_is_named_if_it_matters() {
    let odd = SeenOp::Unknown("quota".into());
    let matters = rule(3, &[odd.clone(), SeenOp::Verdict(FwVerdict::Drop)]);
    let does_not = rule(4, &[odd, SeenOp::Harmless]);
    let stack = stack(vec![base(FwKind::Filter, FwHook::Forward, vec![matters, does_not])], vec![]);
    let passage = forward(&stack, &mut flow());
    assert_eq!(passage.doubts, ["table inet t chain c handle 3: cannot be judged, because of quota"]);
    assert_eq!(passage.dropped, None);
}

#[test]
fn a_map_of_verdicts_leads_to_another_chain_and_back() {
    let element = Element {
        first: 80_u16.to_be_bytes().to_vec(),
        last: 90_u16.to_be_bytes().to_vec(),
        data: vec![],
        verdict: Some(FwVerdict::Jump("other".into())),
    };
    let set =
        SeenSet { table: table(), name: "m".into(), key_len: 2, parts: vec![], elements: vec![element] };
    let jump = SeenOp::Lookup { set: "m".into(), from: 0, to: Some(VERDICT_REGISTER), not: false };
    let first =
        base(FwKind::Filter, FwHook::Forward, vec![rule(1, &[DPORT, jump]), rule(2, &[SeenOp::Reject])]);
    let mark = [
        SeenOp::Immediate { to: 0, value: 5_u32.to_ne_bytes().to_vec() },
        SeenOp::SetMeta { key: 3, from: 0 },
    ];
    let other = SeenChain {
        name: "other".into(),
        base: None,
        ..base(FwKind::Filter, FwHook::Forward, vec![rule(9, &mark)])
    };
    let mut packet = flow();
    let passage = forward(&stack(vec![first, other], vec![set]), &mut packet);
    assert_eq!(packet.mark, 5);
    assert_eq!(passage.dropped.unwrap().handle, Some(2), "the rule after the jump");
}

#[test]
fn the_reply_of_a_rewritten_packet_is_rewritten_back() {
    let ops = [
        SeenOp::Immediate { to: 0, value: vec![192, 168, 0, 1] },
        SeenOp::Immediate { to: 16, value: 8080_u16.to_be_bytes().to_vec() },
        SeenOp::Nat { source: false, address: Some(0), port: Some(16) },
    ];
    let stack = stack(vec![base(FwKind::Nat, FwHook::Prerouting, vec![rule(1, &ops)])], vec![]);
    let (mut packet, mut connection) = (flow(), Connection::default());
    pass(&stack, FwHook::Prerouting, Links::default(), &mut packet, &mut connection);
    assert_eq!((packet.dst.to_string(), packet.port), ("192.168.0.1".to_owned(), Some(8080)));
    connection.reply = true;
    let mut reply = Flow::to(packet.src.unwrap(), None);
    reply.src = Some(packet.dst);
    reply.source_port = packet.port;
    pass(&stack, FwHook::Postrouting, Links::default(), &mut reply, &mut connection);
    assert_eq!((reply.src, reply.source_port), (Some(flow().dst), Some(80)));
}

#[test]
fn bits_that_a_mask_hides_need_not_be_known() {
    let ops = [
        SeenOp::Payload { base: 1, offset: 4, len: 4, to: 0 },
        SeenOp::Bitwise { from: 0, to: 0, mask: vec![0, 0, 0xff, 0], xor: vec![0; 4] },
        equal(&[0, 0, 0x40, 0]),
        SeenOp::Verdict(FwVerdict::Drop),
    ];
    let stack = stack(vec![base(FwKind::Filter, FwHook::Forward, vec![rule(1, &ops)])], vec![]);
    assert!(forward(&stack, &mut flow()).dropped.is_some());
}
