module polynic.test/libcni

go 1.25.0

require github.com/containernetworking/cni v1.3.0
