package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// errRefusedAddress: the address isn't one that events are sent to.
var errRefusedAddress = errors.New("the address isn't one that events are sent to")

// metadata are addresses, beside link-local ones, at which clouds give their machines' credentials away: AWS, Google, Alibaba,
// Oracle, Azure.
var metadata = addresses("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")

// special are the networks of IANA's special-purpose registries which lead nowhere public and which netip.Addr doesn't know.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
)

// Networks whose addresses hold one of IPv4, which a gateway may go on to, and where in them it is.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4, RFC 3056
}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// allowed judges an address that is about to be connected to.
func allowed(address string, private bool) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefusedAddress, err)
	}
	ip := at.Addr().WithZone("").Unmap()
	if !open(ip, private) {
		return errRefusedAddress
	}
	for _, e := range embedding {
		if !e.prefix.Contains(ip) {
			continue
		}
		bytes := ip.As16()
		if inner := netip.AddrFrom4([4]byte(bytes[e.at : e.at+4])); !open(inner, private) {
			return errRefusedAddress
		}
	}
	return nil
}

// open judges an address as such.
func open(ip netip.Addr, private bool) bool {
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}), slices.Contains(metadata, ip):
		return false
	case private:
		return true
	case ip.IsLoopback(), ip.IsPrivate(), ip.IsUnspecified():
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}
