//! Frames past a filter.

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::filter::{Filter, LinkFilter};
use flowtap::source::LinkType;

use crate::pieces::ITEMS;
use crate::pieces::frames::straight;

/// From few instructions for a frame to many.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Version,
    PortAndNet,
    NeitherHostNorPort,
}

const ASKS: [Ask; 3] = [Ask::Version, Ask::PortAndNet, Ask::NeitherHostNorPort];

impl Ask {
    fn compile(self) -> (Filter, LinkFilter) {
        let filter = Filter::new(match self {
            Self::Version => "ip6",
            Self::PortAndNet => "tcp port 443 and not net 10.0.0.0/8",
            Self::NeitherHostNorPort => "not host 192.0.2.77 and not port 22",
        });
        let filter = filter.expect("libpcap is there");
        let compiled = filter.for_link(LinkType::ETHERNET, "a benchmark");
        (filter, compiled.expect("Ethernet has all of this"))
    }
}

#[divan::bench(args = ASKS)]
fn ours(bencher: Bencher<'_, '_>, ask: Ask) {
    let ((_, compiled), frames) = (ask.compile(), straight());
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| frames.iter().filter(|f| compiled.accepts(&f.frame())).count());
}

/// libpcap's own interpreter (`pcap_offline_filter`), on the same program.
#[divan::bench(args = ASKS)]
fn libpcap(bencher: Bencher<'_, '_>, ask: Ask) {
    let ((filter, compiled), frames) = (ask.compile(), straight());
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        frames.iter().filter(|f| filter.accepts_by_libpcap(&compiled, &f.frame())).count()
    });
}
