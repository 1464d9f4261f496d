// libcni makes one call of CNI's reference library, as a container runtime of CNI 1.1 does.
//
//	libcni add|check|del|cached FILE CACHE CONTAINER NETNS [INTERFACE]
//	libcni status FILE CACHE
//	libcni gc FILE CACHE [CONTAINER/INTERFACE...]
//
// FILE is a configuration list, CACHE the library's cache; "cached" prints what the library finds there. Plugins are found by CNI_PATH. An error is printed as CNI prints it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		var said *types.Error
		if !errors.As(err, &said) {
			said = &types.Error{Msg: err.Error()}
		}
		_ = json.NewEncoder(os.Stdout).Encode(said)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: libcni VERB FILE CACHE ...")
	}
	list, err := libcni.ConfListFromFile(args[1])
	if err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(os.Getenv("CNI_PATH")), args[2], nil)
	ctx := context.Background()
	switch verb := args[0]; verb {
	case "status":
		return cni.GetStatusNetworkList(ctx, list)
	case "gc":
		valid := &libcni.GCArgs{ValidAttachments: []types.GCAttachment{}}
		for _, arg := range args[3:] {
			container, ifname, _ := strings.Cut(arg, "/")
			valid.ValidAttachments = append(valid.ValidAttachments, types.GCAttachment{ContainerID: container, IfName: ifname})
		}
		return cni.GCNetworkList(ctx, list, valid)
	default:
		if len(args) < 5 {
			return fmt.Errorf("%s needs CONTAINER and NETNS", verb)
		}
		ifname := "eth0"
		if len(args) > 5 {
			ifname = args[5]
		}
		return attachment(ctx, cni, list, verb, &libcni.RuntimeConf{ContainerID: args[3], NetNS: args[4], IfName: ifname})
	}
}

func attachment(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList, verb string, conf *libcni.RuntimeConf) error {
	switch verb {
	case "add":
		result, err := cni.AddNetworkList(ctx, list, conf)
		if err != nil {
			return err
		}
		return result.Print()
	case "cached":
		return cached(cni, list, conf)
	case "check":
		return cni.CheckNetworkList(ctx, list, conf)
	case "del":
		return cni.DelNetworkList(ctx, list, conf)
	}
	return fmt.Errorf("unknown verb %s", verb)
}

func cached(cni *libcni.CNIConfig, list *libcni.NetworkConfigList, conf *libcni.RuntimeConf) error {
	result, err := cni.GetNetworkListCachedResult(list, conf)
	if err != nil || result == nil {
		return errors.Join(errors.New("no result"), err)
	}
	config, _, err := cni.GetNetworkListCachedConfig(list, conf)
	if err != nil {
		return err
	}
	attachments, err := cni.GetCachedAttachments(conf.ContainerID)
	if err != nil {
		return err
	}
	interfaces := map[string]string{}
	for _, attachment := range attachments {
		interfaces[attachment.IfName] = attachment.Network
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"result": result, "config": json.RawMessage(config), "interfaces": interfaces})
}
