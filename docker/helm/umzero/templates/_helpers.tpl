{{- define "umzero.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "umzero.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "umzero.labels" -}}
{{ include "umzero.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "umzero.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.existingSecret }}
      key: {{ .secret.key }}
{{- end -}}

{{- /* The sleep before SIGTERM, in seconds. */ -}}
{{- define "umzero.preStop" -}}
5
{{- end -}}

{{- /* Beyond the sleep and the drain: a supervisor kills workers 5 s after their drain. */ -}}
{{- define "umzero.gracePeriod" -}}
{{- $drain := .Values.config.UMZERO_DRAIN_S | float64 | ceil -}}
{{- add (include "umzero.preStop" .) $drain 10 -}}
{{- end -}}
