//! The tunnel that a flow is in, as far as it tells flows apart.

/// How packets of other addresses were carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TunnelKind {
    /// IP in IP, of IPv4.
    IpIp = 1,
    /// IPv6 in IP.
    SixInFour,
    /// Generic Routing Encapsulation.
    Gre,
    /// Mirrored Ethernet frames in GRE.
    Erspan,
    /// Virtual eXtensible LAN.
    Vxlan,
    /// Generic Network Virtualization Encapsulation.
    Geneve,
    /// The user plane of the GPRS Tunnelling Protocol.
    GtpU,
    /// IPv6 over UDP through NATs.
    Teredo,
    /// Layer Two Tunneling Protocol.
    L2tp,
}

impl TunnelKind {
    const ALL: [Self; 9] = [
        Self::IpIp,
        Self::SixInFour,
        Self::Gre,
        Self::Erspan,
        Self::Vxlan,
        Self::Geneve,
        Self::GtpU,
        Self::Teredo,
        Self::L2tp,
    ];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As records have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IpIp => "ipip",
            Self::SixInFour => "6in4",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::GtpU => "gtpu",
            Self::Teredo => "teredo",
            Self::L2tp => "l2tp",
        }
    }
}

/// The innermost tunnel that was taken off. Flows in tunnels of one kind with one identifier are
/// told apart by what is inside only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tunnel {
    /// What it is.
    pub kind: TunnelKind,
    /// Network identifier of VXLAN, Geneve and NVGRE, session of ERSPAN: what both directions of
    /// a flow share. A GRE tunnel may have another key each way, which therefore tells no flows
    /// apart ([`crate::flow::Encapsulation::id`] has it).
    pub id: Option<u32>,
}

/// Set where there is an identifier, beside the number of the kind.
const HAS_ID: u8 = 0x80;

impl Tunnel {
    /// One without an identifier.
    #[must_use]
    pub fn of(kind: TunnelKind) -> Self {
        Self { kind, id: None }
    }

    /// 40 bits for a key, not all 0.
    pub(super) fn to_bits(self) -> u64 {
        let kind = self.kind as u8 | self.id.map_or(0, |_| HAS_ID);
        u64::from(self.id.unwrap_or(0)) << 8 | u64::from(kind)
    }

    /// What [`Tunnel::to_bits`] made; `None` of 0.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let [kind, a, b, c, d, ..] = bits.to_le_bytes();
        let id = (kind & HAS_ID != 0).then(|| u32::from_le_bytes([a, b, c, d]));
        let number = usize::from(kind & !HAS_ID).checked_sub(1)?;
        Some(Self { kind: *TunnelKind::ALL.get(number)?, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out() {
        assert_eq!(Tunnel::from_bits(0), None);
        for kind in TunnelKind::ALL {
            assert_eq!(TunnelKind::by_name(kind.name()), Some(kind));
            for id in [None, Some(0), Some(1), Some(u32::MAX)] {
                let tunnel = Tunnel { kind, id };
                assert!((1..1 << 40).contains(&tunnel.to_bits()));
                assert_eq!(Tunnel::from_bits(tunnel.to_bits()), Some(tunnel));
            }
        }
    }
}
