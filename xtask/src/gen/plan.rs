//! Mixes by name, and what is going to be generated: which parts of the path make a mix, and
//! whether its budget suffices. Touches no file and no network. Called by [`super::run`].

use std::io::{self, Write};

use super::deal::{self, Budget};
use super::frame::Framer;
use super::mix::{Draft, MIXES, Mix};
use super::stream::{self, SHAPES, Shape, Wishes};
use super::truth::Truth;
use super::{pcap, scan, schedule};

/// What there is to generate.
#[derive(Clone)]
pub(super) enum Traffic {
    Mix(&'static Mix),
    Stream(&'static Shape),
    Scan,
}

/// A capture that can be: its budget suffices.
pub(super) struct Plan {
    course: Course,
    budget: Budget,
}

/// What makes the packets.
enum Course {
    Drafts(Vec<Draft>),
    Stream(&'static Shape, Wishes),
    Scan,
}

impl Plan {
    pub(super) fn new(traffic: &Traffic, wishes: Wishes, budget: Budget) -> Result<Self, String> {
        if !matches!(traffic, Traffic::Stream(_)) && wishes != Wishes::default() {
            return Err("this mix is as it is: ask for imix, small64, elephants or attack to \
                        choose Zipf's exponent, IPv6, VLAN, loss, reordering, frame lengths or \
                        a rate in bits"
                .into());
        }
        let course = match traffic {
            Traffic::Mix(mix) => Course::Drafts(deal::drafts(mix, &budget)?),
            Traffic::Stream(shape) => {
                stream::check(&budget)?;
                Course::Stream(shape, wishes)
            }
            Traffic::Scan => {
                scan::check(&budget)?;
                Course::Scan
            }
        };
        Ok(Self { course, budget })
    }

    /// Gives every frame with its Unix time in nanoseconds to `sink` and returns the truth, with
    /// its flows if `keep_flows`.
    pub(super) fn play<E>(
        &self,
        keep_flows: bool,
        sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Truth, E> {
        let budget = &self.budget;
        match &self.course {
            Course::Drafts(drafts) => {
                schedule::play(drafts, &Framer::new(budget.seed), keep_flows, sink)
            }
            Course::Stream(shape, wishes) => stream::play(shape, wishes, budget, keep_flows, sink),
            Course::Scan => scan::play(budget, sink),
        }
    }

    /// Writes a capture and returns the truth, as [`Plan::play`] does.
    pub(super) fn write(&self, keep_flows: bool, out: &mut impl Write) -> io::Result<Truth> {
        pcap::write_header(out)?;
        let truth = self.play(keep_flows, |at_ns, frame| pcap::write_frame(out, at_ns, frame))?;
        out.flush()?;
        Ok(truth)
    }
}

/// The mix of that name.
pub(super) fn find_mix(name: &str) -> Result<Traffic, String> {
    if name == scan::NAME {
        return Ok(Traffic::Scan);
    }
    let shape = SHAPES.iter().find(|shape| shape.name == name).map(Traffic::Stream);
    let mix = || MIXES.iter().find(|mix| mix.name == name).map(Traffic::Mix);
    shape.or_else(mix).ok_or_else(|| {
        let names = MIXES.iter().map(|mix| mix.name).chain(SHAPES.iter().map(|shape| shape.name));
        let names: Vec<_> = names.chain([scan::NAME]).collect();
        format!("no such mix; there is {}", names.join(", "))
    })
}
