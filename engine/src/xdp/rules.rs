//! The maps that hold the filter's rule sets, and how one set takes another's place.
//!
//! There are two sets, and a word that says which is in force. A run of the program reads the
//! word once, and then only that set. A change writes the set that is *not* in force, waits,
//! then changes the word, and waits again until every run that may have read the old word is
//! over. So each packet is judged by all of one set, no packet waits, and no set is written
//! while a run may read it.

use aya::{
    Ebpf,
    maps::{
        Array, Map, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};

use super::{
    filter::Compiled,
    program::shared::{Control, PORT_WORDS, PrefixV4, PrefixV6, RULE_SETS, Rules, SET_BITS},
    runs,
};
use crate::flow::{Sampling, SamplingUnit};

/// The maps, with what is written in them.
pub(super) struct RuleMaps {
    control: Array<MapData, u64>,
    rules: Array<MapData, Rules>,
    ports: Array<MapData, u64>,
    v4: LpmTrie<MapData, PrefixV4, u32>,
    v6: LpmTrie<MapData, PrefixV6, u32>,
    sets: [Written; RULE_SETS as usize],
    in_force: Control,
    has_shunt: bool,
}

/// What must be taken out again before a set is written anew.
#[derive(Default)]
struct Written {
    ports: Vec<u32>,
    v4: Vec<Key<PrefixV4>>,
    v6: Vec<Key<PrefixV6>>,
}

impl RuleMaps {
    /// Takes the maps out of a loaded object.
    pub(super) fn of(object: &mut Ebpf) -> Result<Self, MapError> {
        fn take<T: TryFrom<Map, Error = MapError>>(
            object: &mut Ebpf,
            name: &str,
        ) -> Result<T, MapError> {
            object.take_map(name).ok_or(MapError::ElementNotFound)?.try_into()
        }
        Ok(Self {
            control: take(object, "CONTROL")?,
            rules: take(object, "RULES")?,
            ports: take(object, "PORTS")?,
            v4: take(object, "PREFIXES_V4")?,
            v6: take(object, "PREFIXES_V6")?,
            sets: Default::default(),
            in_force: Control::default(),
            has_shunt: false,
        })
    }

    /// Puts another filter, or none, in the place of the one in force.
    ///
    /// When this fails the old one still is in force.
    pub(super) fn replace(&mut self, filter: Option<&Compiled>) -> Result<(), MapError> {
        let set = match filter {
            None => None,
            Some(filter) => {
                let free = self.in_force.set().map_or(0, |set| (set + 1) % RULE_SETS);
                self.clear(free)?;
                self.write(free, filter)?;
                Some(free)
            }
        };
        // What was written is seen by every run that begins from here on.
        runs::wait_for_those_under_way();
        let (every, by_packet) = (self.in_force.every(), self.in_force.is_by_packet());
        self.put_in_force(Control::new(set, every, by_packet))
    }

    /// From now on so much is left out. Not for use under load: unlike a change of the filter
    /// this changes more than one byte.
    pub(super) fn sample(&mut self, sampling: Sampling) -> Result<(), MapError> {
        let by_packet = sampling.unit() == SamplingUnit::Packet;
        self.put_in_force(Control::new(self.in_force.set(), sampling.every(), by_packet))
    }

    /// From now on the program counts the packets of shunted flows. As above.
    pub(super) fn shunt(&mut self) -> Result<(), MapError> {
        self.has_shunt = true;
        self.put_in_force(self.in_force)
    }

    /// The kernel copies the word as it copies any memory, maybe byte by byte; another rule set
    /// is a change of one byte, of which a run sees all or nothing.
    fn put_in_force(&mut self, control: Control) -> Result<(), MapError> {
        let control = if self.has_shunt { control.with_shunt() } else { control };
        self.control.set(0, control.0, 0)?;
        self.in_force = control;
        runs::wait_for_those_under_way();
        Ok(())
    }

    /// Takes out what a set has; one that is not in force, and was not for a while.
    fn clear(&mut self, set: u32) -> Result<(), MapError> {
        let written = &mut self.sets[set as usize];
        while let Some(key) = written.v4.pop() {
            self.v4.remove(&key)?;
        }
        while let Some(key) = written.v6.pop() {
            self.v6.remove(&key)?;
        }
        while let Some(word) = written.ports.pop() {
            self.ports.set(word, 0, 0)?;
        }
        Ok(())
    }

    fn write(&mut self, set: u32, filter: &Compiled) -> Result<(), MapError> {
        let written = &mut self.sets[set as usize];
        for rule in &filter.v4 {
            let [address, ..] = words(rule.bits);
            let key = Key::new(SET_BITS + u32::from(rule.len), [set.to_be(), address]);
            self.v4.insert(&key, rule.ends, 0)?;
            written.v4.push(key);
        }
        for rule in &filter.v6 {
            let [a, b, c, d] = words(rule.bits);
            let key = Key::new(SET_BITS + u32::from(rule.len), [set.to_be(), a, b, c, d]);
            self.v6.insert(&key, rule.ends, 0)?;
            written.v6.push(key);
        }
        for (&word, &bits) in &filter.ports {
            let place = set * PORT_WORDS + word;
            self.ports.set(place, bits, 0)?;
            written.ports.push(place);
        }
        self.rules.set(set, filter.rules, 0)
    }
}

/// Four words in network order.
fn words(bits: u128) -> [u32; 4] {
    let word = |shift: u32| {
        let [a, b, c, d, ..] = (bits << shift).to_be_bytes();
        u32::from_ne_bytes([a, b, c, d])
    };
    [0, 32, 64, 96].map(word)
}
