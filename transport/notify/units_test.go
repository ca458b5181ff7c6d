package notify

import (
	"errors"
	"testing"
	"time"
)

func TestSignatureIsThePublishedOne(t *testing.T) {
	t.Parallel()
	// printf '1767225600.{"id":"1"}' | openssl dgst -sha256 -hmac 0123456789abcdef
	const want = "t=1767225600,v1=54ef2ce91e2e4fd53b0b40b072dae96bc3111edeac3c4a3fd5735b97a94353c0"
	if got := Sign("0123456789abcdef", time.Unix(1767225600, 999), []byte(`{"id":"1"}`)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]bool{ // public only, private too
		"93.184.216.34:443":            {true, true},
		"[2606:2800:220:1::1]:443":     {true, true},
		"127.0.0.1:80":                 {false, true},
		"[::1]:80":                     {false, true},
		"[::ffff:127.0.0.1]:80":        {false, true},
		"10.1.2.3:80":                  {false, true},
		"172.16.0.1:80":                {false, true},
		"192.168.1.1:80":               {false, true},
		"100.64.0.1:80":                {false, true},
		"0.0.0.0:80":                   {false, true},
		"0.1.2.3:80":                   {false, true},
		"[::ffff:100.64.0.1]:80":       {false, true},
		"[::ffff:0.1.2.3]:80":          {false, true},
		"[::ffff:255.255.255.255]:80":  {false, false},
		"[::]:80":                      {false, true},
		"[fd00::1]:80":                 {false, true},
		"169.254.169.254:80":           {false, false},
		"[::ffff:169.254.169.254]:1":   {false, false},
		"[fe80::1%lo]:80":              {false, false},
		"224.0.0.1:80":                 {false, false},
		"[ff02::1]:80":                 {false, false},
		"255.255.255.255:80":           {false, false},
		"[fe80::1]:80":                 {false, false},
		"[fd00:ec2::254]:80":           {false, false},
		"100.100.100.200:80":           {false, false},
		"198.18.0.1:80":                {false, true},
		"192.0.0.8:80":                 {false, true},
		"240.0.0.1:80":                 {false, true},
		"[64:ff9b::5db8:d822]:80":      {true, true},
		"[64:ff9b::10.0.0.5]:80":       {false, true},
		"[64:ff9b::169.254.169.254]:1": {false, false},
		"[64:ff9b:1::10.0.0.5]:80":     {false, true},
		"[2002:5db8:d822::1]:80":       {true, true},
		"[2002:a00:5::1]:80":           {false, true},
		"[2002:a9fe:a9fe::1]:80":       {false, false},
		"[::10.0.0.5]:80":              {false, true},
		"nonsense":                     {false, false},
	} {
		for i, private := range []bool{false, true} {
			err := allowed(address, private)
			if (err == nil) != want[i] || err != nil && !errors.Is(err, errRefusedAddress) {
				t.Errorf("%s, private %v: %v", address, private, err)
			}
		}
	}
}
