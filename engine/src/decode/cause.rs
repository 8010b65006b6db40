//! Why a frame gave no packet. The names are the ledger's.

/// Why a frame could not be decoded into a packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A link type that is not decoded.
    LinkType,
    /// Cut inside the link-layer header.
    Short,
    /// Address Resolution Protocol.
    Arp,
    /// Reverse ARP.
    Rarp,
    /// Link Layer Discovery Protocol.
    Lldp,
    /// IEEE 802.2 LLC (spanning tree, CDP, IS-IS and others).
    Llc,
    /// IEEE 802.1X authentication.
    Eapol,
    /// PPPoE discovery, or a session packet that cannot be.
    Pppoe,
    /// A PPP protocol without IP (LCP, IPCP and others).
    Ppp,
    /// MPLS that carries something else than IP.
    Mpls,
    /// Another EtherType.
    EtherType,
    /// Another address family of a loopback, `NFLOG` or `IPNET` capture.
    AddressFamily,
    /// More headers below IP than are taken off.
    LinkDepth,
    /// IEEE 802.11 without data: management, control, null.
    Wlan,
    /// IEEE 802.11 data that is encrypted.
    WlanProtected,
    /// An IEEE 802.11 frame that holds several (A-MSDU).
    WlanAggregate,
    /// A later fragment of an IEEE 802.11 frame.
    WlanFragment,
    /// An IP header that is cut, or lies about its version or length.
    BadIp,
    /// Cut, or ended by the IP length, before the ports.
    L4Short,
}

impl Cause {
    /// Every cause, in the order of [`Cause::idx`].
    pub const ALL: [Self; 19] = [
        Self::LinkType,
        Self::Short,
        Self::Arp,
        Self::Rarp,
        Self::Lldp,
        Self::Llc,
        Self::Eapol,
        Self::Pppoe,
        Self::Ppp,
        Self::Mpls,
        Self::EtherType,
        Self::AddressFamily,
        Self::LinkDepth,
        Self::Wlan,
        Self::WlanProtected,
        Self::WlanAggregate,
        Self::WlanFragment,
        Self::BadIp,
        Self::L4Short,
    ];

    /// A small number, for arrays of counters.
    #[must_use]
    pub fn idx(self) -> usize {
        self as usize
    }

    /// The cause's name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkType => "link_type",
            Self::Short => "short",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Lldp => "lldp",
            Self::Llc => "llc",
            Self::Eapol => "eapol",
            Self::Pppoe => "pppoe",
            Self::Ppp => "ppp",
            Self::Mpls => "mpls",
            Self::EtherType => "ethertype",
            Self::AddressFamily => "address_family",
            Self::LinkDepth => "link_depth",
            Self::Wlan => "wlan",
            Self::WlanProtected => "wlan_protected",
            Self::WlanAggregate => "wlan_aggregate",
            Self::WlanFragment => "wlan_fragment",
            Self::BadIp => "bad_ip",
            Self::L4Short => "l4_short",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_stands_at_its_own_idx() {
        for (idx, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause.idx(), idx, "{}", cause.name());
        }
    }
}
