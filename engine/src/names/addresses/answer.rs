//! One answer, and for which flows it counts.

use crate::limits::{KEY_VLANS, STALE_NS, TTL_SECONDS};
use crate::names::addresses::Client;
use crate::names::history::Ordered;
use crate::names::recordings::Place;
use crate::names::{AnswerWay, NameService};
use crate::sync::Arc;
use crate::time::{SECOND_NS, Timestamp};

/// One answer, or several with one name that were put together for want of room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When it was seen; of several the first.
    pub(super) time: Timestamp,
    /// Where, and in which recording.
    pub(super) place: Place,
    /// Until when it is good; of several, without a break from the first on.
    pub(super) fresh_until: Timestamp,
    /// Until when it counts at all.
    counts_until: Timestamp,
    /// What was asked.
    pub(super) name: Arc<str>,
    /// By what.
    pub(super) service: NameService,
    /// How what was asked led to it.
    pub(super) way: AnswerWay,
    /// The network that it was heard in.
    pub(super) vlan: [u16; KEY_VLANS],
}

impl Answer {
    /// One that says itself that it is good for `ttl_seconds`.
    #[must_use]
    pub fn new(
        time: Timestamp,
        place: Place,
        ttl_seconds: u32,
        name: Arc<str>,
        service: NameService,
    ) -> Self {
        let [least, most] = TTL_SECONDS;
        let life_ns = u64::from(ttl_seconds.clamp(least, most)) * SECOND_NS;
        let fresh_until = time.saturating_add_unsigned(life_ns);
        let counts_until = fresh_until.saturating_add_unsigned(STALE_NS);
        let (way, vlan) = (AnswerWay::Asked, [0; KEY_VLANS]);
        Self { time, place, fresh_until, counts_until, name, service, way, vlan }
    }

    /// The same, in the network of these tags.
    #[must_use]
    pub fn within(self, vlan: [u16; KEY_VLANS]) -> Self {
        Self { vlan, ..self }
    }

    /// The same, if its host takes it back at a time: it is good for a second more (RFC 6762
    /// section 10.1).
    pub(super) fn take_back(&mut self, time: Timestamp) {
        let last = time.saturating_add_unsigned(SECOND_NS).max(self.time);
        self.fresh_until = self.fresh_until.min(last);
        self.counts_until = self.counts_until.min(last);
    }

    /// Whether it counts no more for a flow that begins now.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.counts_until < now
    }

    /// Whether `client` hears it whoever asked: all hosts of a network hear answers of mDNS, and
    /// who says its own name by NetBIOS tells all.
    pub(super) fn is_heard_in(&self, client: Client) -> bool {
        matches!(self.service, NameService::Mdns | NameService::Nbns) && self.vlan == client.vlan
    }

    /// The same, where the question led to it in another way.
    #[must_use]
    pub fn by(self, way: AnswerWay) -> Self {
        Self { way, ..self }
    }

    /// Whether it was learned in the same way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.service, self.way) == (other.service, other.way)
    }

    /// How old it is for a flow that began at `moment`, if it was seen by then and still counts;
    /// and whether it is stale.
    pub(super) fn age_at(&self, moment: Moment) -> Option<(u64, bool)> {
        let Moment { time, place } = moment;
        let was_seen = self.time <= time && place.is_none_or(|place| self.place.ordinal <= place);
        let counts = was_seen && time <= self.counts_until;
        counts.then(|| (time.abs_diff(self.time), time > self.fresh_until))
    }

    /// Whether `later`, which is not before it, says the same in the same recording, while this
    /// still counted.
    pub(super) fn is_renewed_by(&self, later: &Self) -> bool {
        self.name == later.name
            && self.is_like(later)
            && self.vlan == later.vlan
            && self.place.recording == later.place.recording
            && self.place.ordinal <= later.place.ordinal
            && later.time <= self.counts_until
    }

    /// Stands for `later` too, by which it is renewed. A flow after that is told the age of this
    /// one, and that it is stale if it was so in between.
    pub(super) fn absorb(&mut self, later: &Self) {
        if later.time <= self.fresh_until {
            self.fresh_until = self.fresh_until.max(later.fresh_until);
        }
        self.counts_until = self.counts_until.max(later.counts_until);
    }
}

/// By time, then by place. The name only makes it whole.
impl Ordered for Answer {
    type Order<'a> = (Timestamp, u64, &'a str);

    fn order(&self) -> (Timestamp, u64, &str) {
        (self.time, self.place.ordinal, &self.name)
    }
}

/// When a flow began, for what had been said by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time of its first packet.
    pub time: Timestamp,
    /// That packet's place, if all packets have one order: of recordings with the same hours, what
    /// was read later is not known to who came before.
    pub place: Option<u64>,
}
