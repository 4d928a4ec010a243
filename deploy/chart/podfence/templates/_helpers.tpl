{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "podfence.selector" -}}
app.kubernetes.io/name: podfence
app.kubernetes.io/component: agent
{{- end }}

{{- define "podfence.controller.selector" -}}
app.kubernetes.io/name: podfence
app.kubernetes.io/component: controller
{{- end }}

{{- define "podfence.version" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "podfence.labels" -}}
{{ include "podfence.selector" . }}
{{ include "podfence.version" . }}
{{- end }}

{{- define "podfence.controller.labels" -}}
{{ include "podfence.controller.selector" . }}
{{ include "podfence.version" . }}
{{- end }}

{{- define "podfence.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* What needs no more than this: no other capability, no privilege to gain, nothing to write but the volumes. */ -}}
{{- define "podfence.securityContext" -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add: [NET_ADMIN]
seccompProfile:
  type: RuntimeDefault
{{- include "podfence.confinement" . }}
{{- end }}

{{- /* What writes the boot unit needs none of that, and no capability. */ -}}
{{- define "podfence.unit.securityContext" -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- include "podfence.confinement" . }}
{{- end }}

{{- define "podfence.confinement" -}}
{{- if and .Values.appArmorProfile (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) }}
appArmorProfile:
  type: Localhost
  localhostProfile: {{ .Values.appArmorProfile }}
{{- end }}
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Before Kubernetes 1.30, the profile of a container was an annotation of its pod. */ -}}
{{- define "podfence.profiles" -}}
{{- if and .Values.appArmorProfile (semverCompare "<1.30-0" .Capabilities.KubeVersion.Version) }}
{{- range ternary (list "cleanup") (ternary (list "boot-unit" "agent") (list "agent") .Values.bootUnit.enabled) .Values.cleanup }}
container.apparmor.security.beta.kubernetes.io/{{ . }}: localhost/{{ $.Values.appArmorProfile }}
{{- end }}
{{- end }}
{{- end }}

{{- define "podfence.mounts" -}}
- name: state
  mountPath: {{ .Values.stateDirectory }}
- name: run
  mountPath: {{ .Values.runDirectory }}
{{- end }}

{{- /* Of the node's root directory, what the boot unit is in, and where its nft is. */ -}}
{{- define "podfence.root" -}}
- name: etc
  mountPath: /host/etc
- name: usr
  mountPath: /host/usr
  readOnly: true
{{- end }}

{{- /* What was chosen; else what the release has. One from before there was a choice begins with telling. */ -}}
{{- define "podfence.binding" -}}
{{- $chosen := .Values.binding -}}
{{- if not $chosen -}}
{{- $chosen = "enforce" -}}
{{- with lookup "apps/v1" "DaemonSet" .Release.Namespace "podfence-agent" -}}
{{- $chosen = "report" -}}
{{- range (first .spec.template.spec.containers).args -}}
{{- if hasPrefix "--binding=" . -}}
{{- $chosen = trimPrefix "--binding=" . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $chosen -}}
{{- end }}
