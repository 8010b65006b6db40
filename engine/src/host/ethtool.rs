//! Requests to the kernel's `ethtool` family, by the numbers that the kernel has for them.
//!
//! netlink-bindings 0.3.5 counts the family's commands as if requests and replies shared one
//! row of numbers: its "get link modes" is the kernel's "set link modes". So the number is put
//! right here, and the crate is pinned; what is asked and answered is encoded as it should be.

use netlink_bindings::ethtool::{
    IterableChannels, IterableFeatures, IterableLinkmodes, IterableRings, IterableRss, Request,
};
use netlink_bindings::traits::{NetlinkRequest, Protocol};

/// `ETHTOOL_MSG_*_GET` of linux/ethtool_netlink.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Get {
    LinkModes = 4,
    Features = 11,
    Rings = 15,
    Channels = 17,
    Rss = 38,
}

/// A request under its right number.
pub(super) struct Numbered<R> {
    inner: R,
    payload: Vec<u8>,
}

impl<R: NetlinkRequest> Numbered<R> {
    /// `inner`, complete, is sent as `command`.
    pub(super) fn new(command: Get, inner: R) -> Self {
        let mut payload = inner.payload().to_vec();
        // `struct genlmsghdr` begins with it.
        if let Some(number) = payload.first_mut() {
            *number = command as u8;
        }
        Self { inner, payload }
    }
}

impl<R: NetlinkRequest> NetlinkRequest for Numbered<R> {
    type ReplyType<'buf> = R::ReplyType<'buf>;

    fn protocol(&self) -> Protocol {
        self.inner.protocol()
    }

    fn flags(&self) -> u16 {
        self.inner.flags()
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn decode_reply(buf: &[u8]) -> Self::ReplyType<'_> {
        R::decode_reply(buf)
    }
}

/// A function that asks one command of the interface with a number.
macro_rules! asks {
    ($(#[doc = $doc:literal] $name:ident: $command:ident, $operation:ident, $reply:ident;)*) => {$(
        #[doc = $doc]
        pub(super) fn $name(
            index: u32,
        ) -> impl for<'a> NetlinkRequest<ReplyType<'a> = $reply<'a>> {
            let mut request = Request::new().$operation();
            request.encode().nested_header().push_dev_index(index);
            Numbered::new(Get::$command, request)
        }
    )*};
}

asks! {
    /// The link's speed.
    link_modes: LinkModes, op_linkmodes_get_do, IterableLinkmodes;
    /// Offloads.
    features: Features, op_features_get_do, IterableFeatures;
    /// The lengths of rings.
    rings: Rings, op_rings_get_do, IterableRings;
    /// Queues.
    channels: Channels, op_channels_get_do, IterableChannels;
    /// How packets are dealt to queues.
    rss: Rss, op_rss_get_do, IterableRss;
}
