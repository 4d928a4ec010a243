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
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The node's network settings, which runtimes let no container write at their own place. */ -}}
{{- define "podfence.mounts" -}}
- name: state
  mountPath: {{ .Values.stateDirectory }}
- name: run
  mountPath: {{ .Values.runDirectory }}
- name: settings
  mountPath: /host/proc/sys/net
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
