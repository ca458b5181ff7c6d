package projections_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"annals/eventstore"
	"annals/projections"
)

const childDSN = "ANNALS_PROJECTIONS_CHILD_DSN"

// TestMain lets the test binary also be the process that is killed.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		child(dsn)
		return
	}
	os.Exit(m.Run())
}

// child runs a subscriber that says when it has written half a page, and then does nothing more.
func child(dsn string) {
	pool, err := eventstore.OpenPreparedDB(dsn, eventstore.RoleApp, 8, "projections")
	if err == nil {
		cfg := projections.Config{DB: pool, Registry: mustRegistry(), Logger: slog.New(slog.DiscardHandler)}
		var g *projections.Group
		g, err = projections.New(cfg, slowWriter{totals("totals", nil), func(context.Context, projections.Page) error {
			fmt.Println("half a page")
			select {}
		}})
		if err == nil {
			err = g.Run(context.Background())
		}
	}
	fmt.Println("unexpected end:", err)
	os.Exit(1)
}

func TestKilledInTheMiddleOfAPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	g := b.group(b.config(), totals("totals", nil))
	head := b.append(counts(60)...)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+b.db.DSN)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if kill := cmd.Process.Kill(); kill != nil {
		t.Error(kill)
	}
	_ = cmd.Wait()
	if err != nil || line != "half a page\n" {
		t.Fatalf("the child said %q: %v", line, err)
	}
	if at := b.appliedOnce("totals"); at != 0 {
		t.Errorf("the killed process left the checkpoint at %d", at)
	}
	b.run(g)
	b.waitFor(g, "totals", head)
	b.checkTotals("totals", head)
}

// What another node waits for before it takes over is less than 5 s, however the node before it went away.
func TestTakeoverIsBounded(t *testing.T) {
	t.Parallel()
	lease, standby := projections.TakeoverBounds()
	for what, longest := range map[string]time.Duration{"a policy": lease + standby, "a read model": eventstore.VanishedTimeout + standby} {
		if longest >= 5*time.Second {
			t.Errorf("%s is taken over after up to %s", what, longest)
		}
	}
}
