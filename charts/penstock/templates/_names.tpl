{{/* Beginning of the names of all objects; of Services, what comes after it has at most 13 characters. */}}
{{- define "penstock.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | replace "." "-" | trunc 41 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* The same for objects that belong to no namespace, where releases of other namespaces have theirs, too. */}}
{{- define "penstock.clusterName" -}}
{{- printf "%s.%s" (include "penstock.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "penstock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: penstock
{{- end -}}

{{/* What pods of the operator are found by: never changes. */}}
{{- define "penstock.operator.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "penstock.operator.labels" -}}
{{ include "penstock.labels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "penstock.operator.name" -}}
{{- printf "%s-operator" (include "penstock.fullname" .) -}}
{{- end -}}

{{- define "penstock.operator.serviceAccount" -}}
{{- .Values.operator.serviceAccount.name | default (include "penstock.operator.name" .) -}}
{{- end -}}

{{- define "penstock.webhook.name" -}}
{{- printf "%s-webhook" (include "penstock.fullname" .) -}}
{{- end -}}

{{/* Name of the Secret with the certificate. cert-manager has one of its own, so that each can take over. */}}
{{- define "penstock.webhook.secret" -}}
{{- if eq .Values.webhook.certificates "existingSecret" -}}
{{- .Values.webhook.existingSecret.name -}}
{{- else if eq .Values.webhook.certificates "certManager" -}}
{{- printf "%s-issued" (include "penstock.webhook.name" .) -}}
{{- else -}}
{{- include "penstock.webhook.name" . -}}
{{- end -}}
{{- end -}}

{{/* DNS names that the API server may know the webhook by, as JSON; the first is the one that it uses. */}}
{{- define "penstock.webhook.hosts" -}}
{{- $host := printf "%s.%s.svc" (include "penstock.webhook.name" .) .Release.Namespace -}}
{{- list $host (printf "%s.cluster.local" $host) | toJson -}}
{{- end -}}

{{/* Names, selectors and labels of the registry and the demo Kafka, as the operator's above. */}}
{{- define "penstock.registry.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: registry
{{- end -}}

{{- define "penstock.registry.labels" -}}
{{ include "penstock.labels" . }}
app.kubernetes.io/component: registry
{{- end -}}

{{- define "penstock.registry.name" -}}
{{- printf "%s-registry" (include "penstock.fullname" .) -}}
{{- end -}}

{{- define "penstock.kafka.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: kafka
{{- end -}}

{{- define "penstock.kafka.labels" -}}
{{ include "penstock.labels" . }}
app.kubernetes.io/component: kafka
{{- end -}}

{{- define "penstock.kafka.name" -}}
{{- printf "%s-kafka" (include "penstock.fullname" .) -}}
{{- end -}}

{{/* What the pods of streams are found by, as a label selector; the operator gives them these labels. */}}
{{- define "penstock.streams.selector" -}}
matchLabels:
  app.kubernetes.io/name: penstock
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: [uploader, downloader]
{{- end -}}

{{/* The name that the demo Kafka tells its clients. */}}
{{- define "penstock.kafka.host" -}}
{{- printf "%s.%s.svc" (include "penstock.kafka.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "penstock.kafka.address" -}}
{{- printf "%s:9092" (include "penstock.kafka.host" .) -}}
{{- end -}}

{{/* How large the registry's database may grow; nothing: as it likes. On a volume of ours it must leave some space to
     SQLite's own log. */}}
{{- define "penstock.registry.maxSize" -}}
{{- $registry := .Values.registry -}}
{{- if $registry.database.maxSize -}}
{{- $registry.database.maxSize -}}
{{- else if not (or $registry.database.existingSecret.name $registry.volume.existingClaim) -}}
{{- $size := $registry.volume.size -}}
{{- mulf 0.75 (regexFind "^[0-9.]+" $size | float64) }}{{ regexFind "[A-Za-z]+$" $size -}}
{{- end -}}
{{- end -}}

{{/* Namespaces that are looked after, as JSON; none stands for all of them. */}}
{{- define "penstock.namespaces" -}}
{{- if .Values.operator.clusterWide -}}
[]
{{- else -}}
{{- .Values.operator.namespaces | default (list .Release.Namespace) | toJson -}}
{{- end -}}
{{- end -}}

{{/* Full name of an image: (dict "root" $ "image" .Values.operator.image) */}}
{{- define "penstock.image" -}}
{{- with .root.Values.image.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}
