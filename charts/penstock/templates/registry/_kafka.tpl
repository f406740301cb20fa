{{/* Addresses of the Kafka that the registry reads; nothing, if none is known: then it does not run. */}}
{{- define "penstock.registry.bootstrapServers" -}}
{{- if .Values.registry.kafka.bootstrapServers -}}
{{- .Values.registry.kafka.bootstrapServers | replace " " "" -}}
{{- else if .Values.demoKafka.enabled -}}
{{- include "penstock.kafka.address" . -}}
{{- end -}}
{{- end -}}

{{/* Whether the registry runs: true, or nothing. */}}
{{- define "penstock.registry.runs" -}}
{{- if and .Values.registry.enabled (include "penstock.registry.bootstrapServers" .) -}}
true
{{- end -}}
{{- end -}}

{{/* Properties of its Kafka client, as JSON. What has a setting of its own is not here. */}}
{{- define "penstock.registry.properties" -}}
{{- $kafka := .Values.registry.kafka -}}
{{- $properties := omit ($kafka.properties | default dict) "group.protocol" -}}
{{- $tls := kindIs "map" $kafka.tls -}}
{{- $_ := set $properties "security.protocol" (printf "%s%s" (ternary "SASL_" "" (not (empty $kafka.authSecretRef))) (ternary "SSL" "PLAINTEXT" $tls)) -}}
{{- with $kafka.authSecretRef -}}
{{- $_ := set $properties "sasl.mechanism" (.mechanism | default "SCRAM-SHA-512") -}}
{{- end -}}
{{- with $kafka.tls -}}
{{- with .ca -}}
{{- $_ := set $properties "ssl.ca.location" "/etc/penstock/kafka/ca.crt" -}}
{{- end -}}
{{- with .clientSecretRef -}}
{{- $_ := set $properties "ssl.certificate.location" "/etc/penstock/kafka/tls.crt" -}}
{{- $_ := set $properties "ssl.key.location" "/etc/penstock/kafka/tls.key" -}}
{{- end -}}
{{- end -}}
{{- $properties | toJson -}}
{{- end -}}

{{/* Variables that say which Kafka, and as whom. Kubernetes takes $(NAME) for a reference to another one. */}}
{{- define "penstock.registry.kafka" -}}
- name: PENSTOCK_BOOTSTRAP_SERVERS
  value: {{ include "penstock.registry.bootstrapServers" . | quote }}
- name: PENSTOCK_KAFKA
  value: {{ include "penstock.registry.properties" . | replace "$" "$$" | quote }}
{{- with .Values.registry.kafka.authSecretRef }}
- name: PENSTOCK_SASL_USERNAME
  {{- if .username }}
  value: {{ .username | replace "$" "$$" | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .usernameKey | default "username" }}
  {{- end }}
- name: PENSTOCK_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .passwordKey | default "password" }}
{{- end }}
{{- end -}}

{{/* Sources of the volume with what TLS needs; nothing, if it needs nothing. Only the keys that are named get into the
     pod. */}}
{{- define "penstock.registry.certificates" -}}
{{- with .Values.registry.kafka.tls -}}
{{- with .ca -}}
{{- with .secret }}
- secret:
    name: {{ .name }}
    items:
      - key: {{ .key | default "ca.crt" }}
        path: ca.crt
{{- end }}
{{- with .configMap }}
- configMap:
    name: {{ .name }}
    items:
      - key: {{ .key | default "ca.crt" }}
        path: ca.crt
{{- end }}
{{- end }}
{{- with .clientSecretRef }}
- secret:
    name: {{ .name }}
    items:
      - key: {{ .certificateKey | default "tls.crt" }}
        path: tls.crt
      - key: {{ .privateKeyKey | default "tls.key" }}
        path: tls.key
{{- end }}
{{- end -}}
{{- end -}}
