{{/* What a schema cannot say so that it helps: values that contradict each other. */}}
{{- define "penstock.validate" -}}
{{- include "penstock.validate.elsewhere" . -}}
{{- range $name := list "registry" "demoKafka" "dashboards" "monitoring" "networkPolicies" -}}
{{- if not (kindIs "map" (index $.Values $name)) -}}
{{- fail (printf "the values have no %s. Those of an older chart, which --reuse-values takes as they are, know nothing of it: upgrade with --reset-then-reuse-values (Helm 3.14 or newer) instead, or give your values again with --values" $name) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" (include "penstock.fullname" .)) -}}
{{- fail (printf "names of Services begin with a letter, and those of this release with %s: call it something else, or give fullnameOverride" (include "penstock.fullname" .)) -}}
{{- end -}}
{{- with .Values.operator -}}
{{- if and .clusterWide .namespaces -}}
{{- fail (printf "operator.clusterWide looks after all namespaces, operator.namespaces after these alone (%s): give one of the two" (join ", " .namespaces)) -}}
{{- end -}}
{{- if and (not .serviceAccount.create) (not .serviceAccount.name) -}}
{{- fail "operator.serviceAccount.create is false: give operator.serviceAccount.name, the ServiceAccount that is there" -}}
{{- end -}}
{{- end -}}
{{- $labels := dict "operator.podLabels" .Values.operator.podLabels "registry.podLabels" .Values.registry.podLabels
      "dashboards.labels" .Values.dashboards.labels "monitoring.podMonitor.labels" .Values.monitoring.podMonitor.labels
      "monitoring.prometheusRule.labels" .Values.monitoring.prometheusRule.labels -}}
{{- range $path, $given := $labels -}}
{{- range $label := keys ($given | default dict) | sortAlpha -}}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|penstock\\.dev)/" $label -}}
{{- fail (printf "%s has %s: labels under app.kubernetes.io/, helm.sh/ and penstock.dev/ are the chart's own: leave it out" $path $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "penstock.validate.registry" . -}}
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

{{- define "penstock.validate.registry" -}}
{{- with .Values.registry -}}
{{- $postgres := .database.existingSecret.name -}}
{{- if and (gt (int64 .replicas) 1) (not $postgres) -}}
{{- fail (printf "registry.replicas is %d: SQLite, the default, takes one. Give registry.database.existingSecret.name, a Secret with the URL of a PostgreSQL, or leave registry.replicas at 1" (int64 .replicas)) -}}
{{- end -}}
{{- if and $postgres .volume.existingClaim -}}
{{- fail "registry.volume.existingClaim is for SQLite, registry.database.existingSecret.name for PostgreSQL: give one of the two" -}}
{{- end -}}
{{- if and .volume.existingClaim .volume.storageClassName -}}
{{- fail "registry.volume.storageClassName is for the claim that the chart makes, registry.volume.existingClaim takes one that is there: give one of the two" -}}
{{- end -}}
{{- range $name := keys (.kafka.properties | default dict) | sortAlpha -}}
{{- if or (eq $name "security.protocol") (hasPrefix "sasl." $name) (hasPrefix "ssl." $name) -}}
{{- fail (printf "registry.kafka.properties has %s: who connects how is said by registry.kafka.authSecretRef and registry.kafka.tls: leave it out" $name) -}}
{{- end -}}
{{- end -}}
{{- with .kafka.authSecretRef -}}
{{- if not .name -}}
{{- fail "registry.kafka.authSecretRef needs its name: that of the Secret with the name and password to log in to Kafka with" -}}
{{- end -}}
{{- end -}}
{{- with .kafka.tls -}}
{{- with .ca -}}
{{- if and .secret .configMap -}}
{{- fail "registry.kafka.tls.ca: name one place, secret or configMap, and not both" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not .kafka.bootstrapServers -}}
{{- if or .kafka.authSecretRef (kindIs "map" .kafka.tls) -}}
{{- fail "registry.kafka says how to connect, and not where: give registry.kafka.bootstrapServers (the demo Kafka has neither passwords nor TLS)" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "penstock.validate.elsewhere" -}}
{{- range $path, $instead := include "penstock.elsewhere" . | fromYaml -}}
{{- $at := $.Values -}}
{{- $found := true -}}
{{- range splitList "." $path -}}
{{- if and $found (kindIs "map" $at) -}}
{{- $found = hasKey $at . -}}
{{- $at = index $at . -}}
{{- else -}}
{{- $found = false -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- fail (printf "there is no value %s: %s" $path $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
