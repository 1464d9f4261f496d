{{/* The image of a component. */}}
{{- define "polynic.image" -}}
{{- $registry := .root.Values.global.imageRegistryOverride | default .image.registry -}}
{{- if .image.digest -}}
{{ printf "%s/%s@%s" $registry .image.repository .image.digest }}
{{- else -}}
{{ printf "%s/%s:%s" $registry .image.repository (.image.tag | default (printf "v%s" .root.Chart.AppVersion)) }}
{{- end -}}
{{- end }}

{{/* Labels by which a component's pods are selected: those of the replaced chart, because no upgrade may change them. */}}
{{- define "polynic.selector" -}}
app.kubernetes.io/name: {{ .root.Values.global.nameOverride | default "spiderpool" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Metadata of an object that belongs to a component. */}}
{{- define "polynic.labels" -}}
{{ include "polynic.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "polynic.annotations" -}}
{{- with .Values.global.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The Secret of a certificate that is not the controller's own. */}}
{{- define "polynic.tlsSecret" -}}
{{- $controller := .Values.spiderpoolController -}}
{{ $controller.tls.secretName | default (printf "%s-tls" $controller.name) }}
{{- end }}

{{/* Probes of a daemon, by its port and its settings. */}}
{{- define "polynic.probes" -}}
{{- range $kind := list "startup" "liveness" "readiness" }}
{{- $probe := index $.healthChecking (printf "%sProbe" $kind) }}
{{ $kind }}Probe:
  httpGet:
    path: /v1/runtime/{{ $kind }}
    port: {{ $.httpPort }}
    {{- if $.hostnetwork }}
    host: 127.0.0.1
    {{- end }}
  failureThreshold: {{ $probe.failureThreshold }}
  periodSeconds: {{ $probe.periodSeconds }}
  timeoutSeconds: 5
{{- end }}
{{- end }}

{{/* The agent's plugins. */}}
{{- define "polynic.plugins" -}}
{{- $names := list "spiderpool" "coordinator" "ifacer" -}}
{{- if .Values.multus.multusCNI.install -}}
{{- $names = concat $names (list "multus" "passthru") -}}
{{- end -}}
{{- if .Values.plugins.installSriovCNI -}}
{{- $names = append $names "sriov" -}}
{{- end -}}
{{- if .Values.plugins.installVlanCNI -}}
{{- $names = append $names "vlan" -}}
{{- end -}}
{{- $names = concat $names .Values.plugins.names -}}
{{- toJson (uniq $names) -}}
{{- end }}

{{/* What cannot be had here is refused by name. */}}
{{- define "polynic.refuse" -}}
{{- if .Values.sriov.install }}
{{- fail "sriov.install: the SR-IOV operator is another project; install its own chart beside this one" }}
{{- end }}
{{- if .Values.rdma.rdmaSharedDevicePlugin.install }}
{{- fail "rdma.rdmaSharedDevicePlugin.install: the device plugin is another project; install it beside this chart" }}
{{- end }}
{{- if .Values.iaasNetworkProvider.serverUrl }}
{{- fail "iaasNetworkProvider.serverUrl: networks of an infrastructure provider are not supported" }}
{{- end }}
{{- if .Values.spiderpoolAgent.networkResourcePlugin.enabled }}
{{- fail "spiderpoolAgent.networkResourcePlugin.enabled: networks as node resources are not supported" }}
{{- end }}
{{- if .Values.grafanaDashboard.install }}
{{- fail "grafanaDashboard.install: there is no dashboard in this chart" }}
{{- end }}
{{- range $name := list "spiderpoolAgent" "spiderpoolController" "spiderpoolInit" }}
{{- $repository := (index $.Values $name).image.repository }}
{{- if regexMatch "spiderpool/spiderpool-(agent|controller)$" $repository }}
{{- fail (printf "%s.image.repository: %s is the replaced program; leave it out, or name polynic's image" $name $repository) }}
{{- end }}
{{- end }}
{{- with .Values.spiderpoolController.tls.provided }}
{{- if or .tlsCert .tlsKey .tlsCa }}
{{- fail "spiderpoolController.tls.provided: put the certificate into a Secret, and name it in spiderpoolController.tls.secretName" }}
{{- end }}
{{- end }}
{{- if and (eq .Values.spiderpoolController.tls.method "provided") (not .Values.spiderpoolController.tls.secretName) }}
{{- fail "spiderpoolController.tls.secretName is needed with spiderpoolController.tls.method=provided" }}
{{- end }}
{{- if and (eq .Values.spiderpoolController.tls.method "certmanager") (not .Values.spiderpoolController.tls.certmanager.issuerName) }}
{{- fail "spiderpoolController.tls.certmanager.issuerName is needed with spiderpoolController.tls.method=certmanager" }}
{{- end }}
{{- range $family := list "4" "6" }}
{{- if and (index $.Values.clusterDefaultPool (printf "installIPv%sIPPool" $family)) (not (index $.Values.clusterDefaultPool (printf "ipv%sSubnet" $family))) }}
{{- fail (printf "clusterDefaultPool.ipv%sSubnet is needed with installIPv%sIPPool" $family $family) }}
{{- end }}
{{- end }}
{{- end }}
