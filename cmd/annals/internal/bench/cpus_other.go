//go:build !linux

package bench

func allowedCPUs() (cpuSet, error) { return nil, errNoPinning }

func pinSelf(cpuSet) error { return errNoPinning }

func pinTree(int, cpuSet) error { return errNoPinning }

func startingOn(_ cpuSet, start func() error) error { return start() }
