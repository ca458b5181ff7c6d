package embedded

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	s, err := Start(t.Context(), Config{Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.DSN(), s.Pid())
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
