package bench

import (
	"math"
	"testing"
)

func TestWarmRate(t *testing.T) {
	const (
		totals = `transaction type: -
number of transactions actually processed: 13769
number of failed transactions: 0 (0.000%)
latency average = 0.572 ms
initial connection time = 29.854 ms
tps = 6939.408066 (without initial connection time)
`
		first  = "progress: 1.0 s, 5852.5 tps, lat 0.661 ms stddev 0.964, 0 failed\n"
		second = "progress: 2.0 s, 7900.1 tps, lat 0.561 ms stddev 0.864, 0 failed\n"
		all    = "progress: 1.0 s, 13770.0 tps, lat 0.661 ms stddev 0.964, 0 failed\n"
		late   = "progress: 1.9 s, 6000.0 tps, lat 0.661 ms stddev 0.964, 0 failed\n"
	)
	whole := 6939.408066
	warm := (13769 - 5852.5) / (13769/whole + 0.029854 - 1)
	for name, c := range map[string]struct {
		out  string
		want float64
	}{
		"two reports":     {first + second + totals, warm},
		"one report":      {first + totals, warm},
		"a late report":   {late + totals, whole},
		"nothing later":   {all + totals, whole},
		"no report":       {totals, whole},
		"another version": {"tps = 6939.408066 (including connections establishing)\n", math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			done, rate, err := warmRate([]byte(c.out))
			if math.IsNaN(c.want) {
				if err == nil {
					t.Fatalf("%d transactions at %v a second, want an error", done, rate)
				}
				return
			}
			if err != nil || done != 13769 || math.Abs(rate-c.want) > 1e-6 {
				t.Fatalf("%d transactions at %v a second, %v; want 13769 at %v", done, rate, err, c.want)
			}
		})
	}
}
