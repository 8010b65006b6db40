//! Requests to the kernel's `ethtool` family, by the numbers that the kernel has for them.
//!
//! netlink-bindings 0.3.5 counts the family's commands as if requests and replies shared one
//! row of numbers: its "get link modes" is the kernel's "set link modes". So the number is put
//! right here, and the crate is pinned; what is asked and answered is encoded as it should be.

use std::ffi::CStr;

use netlink_bindings::ethtool::{
    IterableChannels, IterableFeatures, IterableLinkmodes, IterableRings, IterableRss, Request,
};
use netlink_bindings::traits::{NetlinkRequest, Protocol};

/// `ETHTOOL_MSG_*` of linux/ethtool_netlink.h, `_GET` and `_SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Message {
    LinkModes = 4,
    Features = 11,
    SetFeatures = 12,
    Rings = 15,
    SetRings = 16,
    Channels = 17,
    SetChannels = 18,
    Rss = 38,
    SetRss = 48,
}

/// A request under its right number.
pub(super) struct Numbered<R> {
    inner: R,
    payload: Vec<u8>,
}

impl<R: NetlinkRequest> Numbered<R> {
    /// `inner`, complete, is sent as `command`.
    pub(super) fn new(command: Message, inner: R) -> Self {
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
            Numbered::new(Message::$command, request)
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

/// Sets an offload, by its name in the kernel. Others stay as they are.
pub(super) fn set_feature(index: u32, name: &CStr, is_on: bool) -> impl NetlinkRequest {
    let mut request = Request::new().op_features_set_do();
    let features = request.encode().nested_header().push_dev_index(index).end_nested();
    let bit = features.nested_wanted().nested_bits().nested_bit().push_name(name);
    if is_on {
        drop(bit.push_value(()));
    } else {
        drop(bit);
    }
    Numbered::new(Message::SetFeatures, request)
}

/// Sets the length of receive rings.
pub(super) fn set_rx_ring(index: u32, frames: u32) -> impl NetlinkRequest {
    let mut request = Request::new().op_rings_set_do();
    request.encode().nested_header().push_dev_index(index).end_nested().push_rx(frames);
    Numbered::new(Message::SetRings, request)
}

/// Sets how many queues there are for both directions.
pub(super) fn set_combined(index: u32, count: u32) -> impl NetlinkRequest {
    let mut request = Request::new().op_channels_set_do();
    let channels = request.encode().nested_header().push_dev_index(index).end_nested();
    channels.push_combined_count(count);
    Numbered::new(Message::SetChannels, request)
}

/// Sets how many queues there are for receiving only.
pub(super) fn set_rx_channels(index: u32, count: u32) -> impl NetlinkRequest {
    let mut request = Request::new().op_channels_set_do();
    request.encode().nested_header().push_dev_index(index).end_nested().push_rx_count(count);
    Numbered::new(Message::SetChannels, request)
}

/// Sets the hash's key (Linux 6.17).
pub(super) fn set_rss_key(index: u32, key: &[u8]) -> impl NetlinkRequest {
    let mut request = Request::new().op_rss_set_do();
    request.encode().nested_header().push_dev_index(index).end_nested().push_hkey(key);
    Numbered::new(Message::SetRss, request)
}

/// Sets what is done to the hash's input, by `RXH_XFRM_*` of linux/ethtool.h (Linux 6.17).
pub(super) fn set_rss_input(index: u32, transform: u32) -> impl NetlinkRequest {
    let mut request = Request::new().op_rss_set_do();
    request.encode().nested_header().push_dev_index(index).end_nested().push_input_xfrm(transform);
    Numbered::new(Message::SetRss, request)
}
