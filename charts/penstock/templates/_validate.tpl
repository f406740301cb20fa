{{/* What a schema cannot say so that it helps: values that contradict each other. */}}
{{- define "penstock.validate" -}}
{{- with .Values.operator -}}
{{- if and .clusterWide .namespaces -}}
{{- fail (printf "operator.clusterWide looks after all namespaces, operator.namespaces after these alone (%s): give one of the two" (join ", " .namespaces)) -}}
{{- end -}}
{{- if and (not .serviceAccount.create) (not .serviceAccount.name) -}}
{{- fail "operator.serviceAccount.create is false: give operator.serviceAccount.name, the ServiceAccount that is there" -}}
{{- end -}}
{{- range $label := keys .podLabels | sortAlpha -}}
{{- if regexMatch "^(app\\.kubernetes\\.io|penstock\\.dev)/" $label -}}
{{- fail (printf "operator.podLabels has %s: labels under app.kubernetes.io/ and penstock.dev/ are the chart's own: leave it out" $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.webhook -}}
{{- if and .enabled (eq .certificates "existingSecret") -}}
{{- if not .existingSecret.name -}}
{{- fail "webhook.certificates is existingSecret: give webhook.existingSecret.name, a Secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if not .existingSecret.caBundle -}}
{{- fail "webhook.certificates is existingSecret: give the authority's certificate, too: --set-file webhook.existingSecret.caBundle=ca.crt" -}}
{{- end -}}
{{- else if and .existingSecret.name (ne .certificates "existingSecret") -}}
{{- fail (printf "webhook.existingSecret.name is not used while webhook.certificates is %s: set webhook.certificates=existingSecret, or leave the name out" .certificates) -}}
{{- else if and .certManager.issuerRef (ne .certificates "certManager") -}}
{{- fail (printf "webhook.certManager.issuerRef is not used while webhook.certificates is %s: set webhook.certificates=certManager, or leave it out" .certificates) -}}
{{- end -}}
{{- end -}}
{{- end -}}
