//! Datagrams that are longer than the path takes: its router or an interface has said so, and what it
//! takes is known from then on (RFC 1191, RFC 8201). Messages are split by their records and sent again,
//! later ones are packed shorter. What cannot be split further is counted, and others go on.

use super::{Exporter, packer};
use crate::limits::DATAGRAM_BYTES_BOUNDS;

/// Any record has room in it.
const LEAST: usize = *DATAGRAM_BYTES_BOUNDS.start();

impl Exporter {
    /// A datagram was not sent, as it is too long; or one that was has not arrived for that.
    pub(super) fn shorten(&mut self) {
        let Some(session) = &mut self.session else { return };
        let known = session.path_bytes().filter(|&bytes| bytes < self.most_bytes);
        self.most_bytes = known.unwrap_or(self.most_bytes);
        let left = session.shorten(self.most_bytes);
        self.backlog.put_back(left);
        if known.is_some() {
            return self.pack_shorter();
        }
        // The first time it may have been about another datagram, which was sent before.
        self.refusals += 1;
        let Some(message) = self.backlog.front().filter(|_| self.refusals > 1) else { return };
        match message.bytes.len() / 2 {
            half @ LEAST.. => {
                self.most_bytes = half;
                self.pack_shorter();
            }
            // A template that it needs is too long, or there is no sense in it.
            _ => self.lose_next(),
        }
    }

    fn pack_shorter(&mut self) {
        self.refusals = 0;
        self.packer = packer(&self.endpoint, self.most_bytes.max(LEAST), self.is_uniflow, self.pen);
        let (endpoint, most) = (&self.endpoint, self.most_bytes);
        let text =
            format!("{endpoint}: the path takes no more than {most} bytes; messages are split");
        self.queue.account.notice(text);
    }

    /// Puts pieces that the path takes in the place of the next message.
    pub(super) fn split_next(&mut self) {
        let Some(message) = self.backlog.pop() else { return };
        let (kept, is_oldest) = (message.kept, self.is_oldest());
        let (pieces, lost) = message.split(self.endpoint.dialect(), self.pen, self.most_bytes);
        self.backlog.replace(kept, pieces, lost, is_oldest);
        self.tell_lost(lost);
    }

    /// Whether all before the next message has arrived.
    fn is_oldest(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.unsettled().next().is_none())
    }

    fn lose_next(&mut self) {
        self.refusals = 0;
        let Some(message) = self.backlog.pop() else { return };
        self.backlog.replace(message.kept, Vec::new(), message.flows, self.is_oldest());
        self.tell_lost(message.flows);
    }

    /// These records cannot be sent; that is told once.
    fn tell_lost(&mut self, lost: u32) {
        if lost > 0 && !std::mem::replace(&mut self.is_told_lost, true) {
            let (endpoint, most) = (&self.endpoint, self.most_bytes);
            let text = format!("{endpoint}: there are records longer than {most} bytes; not sent");
            self.queue.account.notice(text);
        }
    }
}
