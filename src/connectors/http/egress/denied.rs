//! Addresses that a URL from data never leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `ip` is one that the public internet does not route to, or that serves the metadata of a cloud: the special-purpose
/// registries of IANA (RFC 6890), and IPv6 addresses that embed such an IPv4 address.
pub(in super::super) fn is_denied(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_denied_v4(ip),
        IpAddr::V6(ip) => embedded(ip).map_or_else(|| is_denied_v6(ip), is_denied_v4),
    }
}

fn is_denied_v4(ip: Ipv4Addr) -> bool {
    DENIED_V4.iter().any(|(network, bits)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or_default();
        u32::from(ip) & mask == u32::from(Ipv4Addr::from(*network))
    })
}

fn is_denied_v6(ip: Ipv6Addr) -> bool {
    // What is not global unicast is for this host, this link or this site; the rest of 2001::/23 is for protocols.
    let [first, second, ..] = ip.segments();
    first & 0xe000 != 0x2000 || (first == 0x2001 && (second < 0x0200 || second == 0x0db8)) || first == 0x3fff
}

/// The IPv4 address in one that translates or tunnels to it: mapped, compatible, NAT64 (RFC 6052, 8215) and 6to4 (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let last = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(last),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(last),
        [0x2002, a, b, ..] => Some(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b))),
        _ => None,
    }
}

/// Networks and the bits of their prefix.
const DENIED_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),          // this network
    ([10, 0, 0, 0], 8),         // private
    ([100, 64, 0, 0], 10),      // carrier-grade NAT; the metadata of Alibaba Cloud
    ([127, 0, 0, 0], 8),        // loopback
    ([168, 63, 129, 16], 32),   // the wire server of Azure
    ([169, 254, 0, 0], 16),     // link-local; the metadata of most clouds
    ([172, 16, 0, 0], 12),      // private
    ([192, 0, 0, 0], 24),       // protocol assignments; the metadata of Oracle Cloud
    ([192, 0, 2, 0], 24),       // documentation
    ([192, 88, 99, 0], 24),     // 6to4 relays
    ([192, 168, 0, 0], 16),     // private
    ([198, 18, 0, 0], 15),      // benchmarks
    ([198, 51, 100, 0], 24),    // documentation
    ([203, 0, 113, 0], 24),     // documentation
    ([224, 0, 0, 0], 4),        // multicast
    ([240, 0, 0, 0], 4),        // reserved
    ([255, 255, 255, 255], 32), // broadcast
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denies_private_and_metadata_addresses_in_each_way_of_writing() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::10.0.0.1",
            "2002:a00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(is_denied(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "168.63.129.17",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
        ] {
            assert!(!is_denied(address.parse().expect("an address")), "{address}");
        }
    }
}
