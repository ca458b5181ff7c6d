//go:build !linux

package bench

import (
	"errors"
	"runtime"
)

// errNoPinning says that this system doesn't let a program choose its CPUs.
var errNoPinning = errors.New("CPUs can't be chosen on " + runtime.GOOS)

func allowedCPUs() (cpuSet, error) { return nil, errNoPinning }

func pinSelf(cpuSet) error { return errNoPinning }

func pinTree(int, cpuSet) error { return errNoPinning }

func startingOn(_ cpuSet, start func() error) error { return start() }
