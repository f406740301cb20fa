{{/* A PodMonitor: (dict "root" $ "part" "operator" "job" "penstock-operator" "selector" (dict ...)), for pods of this
     namespace; "everywhere" true: of those that are looked after; "container": of this container alone; "port": its name, if it
     is not `metrics`; "stream": the pods' label that says which stream they belong to. */}}
{{- define "penstock.podMonitor" -}}
{{- $monitor := .root.Values.monitoring.podMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "penstock.fullname" .root }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- with $monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "penstock.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
spec:
  selector:
    {{- toYaml .selector | nindent 4 }}
  {{- if .everywhere }}
  namespaceSelector:
    {{- with include "penstock.namespaces" .root | fromJsonArray }}
    matchNames:
      {{- toYaml . | nindent 6 }}
    {{- else }}
    any: true
    {{- end }}
  {{- end }}
  podMetricsEndpoints:
    - port: {{ .port | default "metrics" }}
      {{- with $monitor.interval }}
      interval: {{ . }}
      {{- end }}
      {{- if eq .part "operator" }}
      # Its metrics say of which stream, in which namespace, they are.
      honorLabels: true
      {{- end }}
      relabelings:
        {{- with .container }}
        # Other containers of these pods are somebody else's.
        - action: keep
          sourceLabels: [__meta_kubernetes_pod_container_name]
          regex: {{ . }}
        {{- end }}
        {{- with .stream }}
        - action: replace
          sourceLabels: [{{ printf "__meta_kubernetes_pod_label_%s" (regexReplaceAll "[^a-zA-Z0-9_]" . "_") }}]
          targetLabel: stream
        {{- end }}
        # The name that the rules and the dashboards know it by.
        - action: replace
          targetLabel: job
          replacement: {{ .job }}
{{- end -}}
