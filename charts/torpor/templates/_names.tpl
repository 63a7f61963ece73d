{{/* One torpor serves a whole cluster, so its objects have fixed names: a second release collides and says so. */}}
{{- define "torpor.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What never changes between releases: selectors may hold only this. Call with (dict "component" "gateway"). */}}
{{- define "torpor.selector" -}}
app.kubernetes.io/name: torpor
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* All labels of an object. Call with (dict "root" $ "component" "gateway"). */}}
{{- define "torpor.labels" -}}
{{ include "torpor.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: torpor
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "torpor.gatewayURL" -}}
{{ .Values.gateway.url | default (printf "http://torpor-gateway.%s.svc%s/v1" .Release.Namespace (eq (int .Values.gateway.service.port) 80 | ternary "" (printf ":%d" (int .Values.gateway.service.port)))) }}
{{- end }}

{{/* "true" if the page is exposed. `helm upgrade --reuse-values` from a release without a page brings no such value. */}}
{{- define "torpor.pageExposed" -}}
{{ dig "page" "expose" false .Values.controller | ternary "true" "" }}
{{- end }}

{{/* What every pod of torpor's own shares. Call with (dict "root" $ "component" "gateway" "values" .Values.gateway). */}}
{{- define "torpor.podSpec" -}}
serviceAccountName: torpor-{{ .component }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "torpor.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "torpor.selector" . | nindent 8 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "torpor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The pod's own name: who holds the lease, who wrote the answer. */}}
{{- define "torpor.podName" -}}
valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
