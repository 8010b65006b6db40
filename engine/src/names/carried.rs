//! Labels of flows that are split, from part to part.
//!
//! What a flow is called is decided by its first packet, however long it goes on; what is known of
//! names does not reach back as far. So whoever labels a part that is not the last leaves its
//! labels here for whoever labels the next.

use papaya::HashMap;

use crate::flow::{FlowKey, FlowRecord};
use crate::names::Labels;
use crate::sync::hash::Seed;
use crate::time::Timestamp;

/// What tells flows of one key apart.
type Beginning = (Option<Timestamp>, u32);

/// Labels of the parts that ended last, of all flows that go on.
#[derive(Debug)]
pub(super) struct Carried {
    flows: HashMap<FlowKey, (Beginning, Labels), Seed>,
    max_flows: usize,
}

impl Carried {
    /// Of so many flows at most: those that go on beyond are labelled by what is still known.
    pub(super) fn new(max_flows: usize) -> Self {
        Self { flows: HashMap::with_hasher(Seed::default()), max_flows }
    }

    /// The labels of a record: what there is to say of it now, and what was said of the part before
    /// it.
    pub(super) fn labels(&self, record: &FlowRecord, now: Option<Labels>) -> Option<Labels> {
        let (total, goes_on) = (&record.total, record.total.ends_part());
        if total.part == 0 && !goes_on {
            return now;
        }
        let Some(opening) = record.opening() else { return now };
        let beginning = (opening.flow_start, opening.ordinal);
        let mut labels = now.unwrap_or_default();
        let flows = self.flows.pin();
        if total.part > 0
            && let Some((its, before)) = flows.get(&record.key)
            && *its == beginning
        {
            labels.follow(before);
        }
        let has_any = labels != Labels::default();
        if goes_on && has_any && flows.len() < self.max_flows {
            flows.insert(record.key, (beginning, labels.clone()));
        } else {
            // A later flow of the key may be further.
            let _ = flows.remove_if(&record.key, |_, (its, _)| *its == beginning);
        }
        has_any.then_some(labels)
    }
}
