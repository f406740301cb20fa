{{/* Who may connect, as JSON: the pods of this release's namespace, and of those in "namespaces".
     (dict "root" $ "namespaces" (list ...)) */}}
{{- define "penstock.peers" -}}
{{- $names := prepend (.namespaces | default list) .root.Release.Namespace | uniq -}}
{{- $expression := dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" $names -}}
{{- list (dict "namespaceSelector" (dict "matchExpressions" (list $expression))) | toJson -}}
{{- end -}}

{{/* The rule that lets metrics be read. */}}
{{- define "penstock.peers.metrics" -}}
# The kubelet, which asks how the pod is, may always.
- from:
    {{- include "penstock.peers" (dict "root" . "namespaces" .Values.networkPolicies.metricsNamespaces) | fromJsonArray | toYaml | nindent 4 }}
  ports:
    - port: metrics
      protocol: TCP
{{- end -}}
