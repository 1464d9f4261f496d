module polynic.test/upstream-flannel

go 1.25.0

// For its manifest alone: nothing of it is compiled.
require github.com/flannel-io/flannel v0.28.0
