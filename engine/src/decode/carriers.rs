//! Numbers for what carried packets, as one decoder gets them.

use crate::flow::encapsulation::Number;
use crate::flow::{Encapsulation, Encapsulations};
use crate::sync::Arc;

/// The run's list, and what was looked up last: packets come in rows.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    /// `None` where nobody wants to know.
    list: Option<Arc<Encapsulations>>,
    last: Encapsulation,
    number: Option<Number>,
    /// Whether that is all of what was looked up.
    is_whole: bool,
    not_kept: u64,
}

impl Carriers {
    pub(super) fn of(list: &Arc<Encapsulations>) -> Self {
        Self { list: Some(Arc::clone(list)), ..Self::default() }
    }

    /// For another decoder of the same run.
    pub(super) fn for_another(&self) -> Self {
        Self { list: self.list.clone(), ..Self::default() }
    }

    /// The number of what carried a packet, if anything did; if there is no room for that, of the
    /// same without its identifier.
    pub(super) fn number(&mut self, carrier: &Encapsulation) -> Option<Number> {
        if carrier.is_empty() {
            return None;
        }
        let list = self.list.as_ref()?;
        if self.last != *carrier {
            self.last = *carrier;
            self.number = list.number(carrier);
            self.is_whole = self.number.is_some();
            if !self.is_whole && carrier.id.is_some() {
                self.number = list.number(&Encapsulation { id: None, ..*carrier });
            }
        }
        self.not_kept += u64::from(!self.is_whole);
        self.number
    }

    /// Packets since the last call for all of whose encapsulation there was no room.
    pub(super) fn take_not_kept(&mut self) -> u64 {
        std::mem::take(&mut self.not_kept)
    }
}
