{{/* Values that people look for elsewhere than they are, and what to do instead. The schema lets these through (its
     `elsewhere`), so that more can be said of them than that they are not allowed. */}}
{{- define "penstock.elsewhere" -}}
affinity: 'each part has its own: operator.affinity, registry.affinity'
bootstrapServers: registry.kafka.bootstrapServers is the Kafka that the registry reads; each stream names its own in spec.kafka
crds: crd.install and crd.keep say what becomes of the definition of DirectoryStream
demoKafka.persistence: demoKafka.volume says it
downloader: streams.downloader has what all downloaders have in common
grafana: dashboards.enabled makes ConfigMaps that Grafana's sidecar finds
image.digest: each part has its own, such as operator.image.digest; image.registry is for all of them
image.repository: each part has its own, such as operator.image.repository; image.registry is for all of them
image.tag: each part has its own, such as operator.image.tag; image.registry is for all of them
imagePullPolicy: image.pullPolicy says it
imagePullSecrets: image.pullSecrets names them
ingress: 'this chart makes no Ingress: make one to port 8650 of the Service that ends in -registry'
installCRDs: crd.install says it
kafka: registry.kafka.bootstrapServers is the Kafka that the registry reads; each stream names its own in spec.kafka
logLevel: 'each part has its own: operator.logLevel, registry.logLevel, streams.logLevel'
monitoring.dashboards: dashboards.enabled makes ConfigMaps that Grafana's sidecar finds
monitoring.enabled: monitoring.podMonitor.enabled makes PodMonitors of all parts; monitoring.prometheusRule.enabled makes alerts
monitoring.serviceMonitor: monitoring.podMonitor.enabled makes PodMonitors of all parts
nameOverride: fullnameOverride begins the names of all objects
namespaces: operator.namespaces names the namespaces whose streams are looked after, operator.clusterWide=true takes all
networkPolicy: networkPolicies.enabled makes them
nodeSelector: 'each part has its own: operator.nodeSelector, registry.nodeSelector'
operator.replicas: 'there is one operator, always: two would both decide'
operator.watchNamespace: operator.namespaces names the namespaces whose streams are looked after, operator.clusterWide=true takes all
operator.watchNamespaces: operator.namespaces names the namespaces whose streams are looked after, operator.clusterWide=true takes all
persistence: registry.volume.size and registry.volume.storageClassName say which volume the registry has, registry.volume.existingClaim takes one that is there
podAnnotations: 'each part has its own: operator.podAnnotations, registry.podAnnotations'
podLabels: 'each part has its own: operator.podLabels, registry.podLabels'
podMonitor: monitoring.podMonitor.enabled makes PodMonitors of all parts
podSecurityContext: podUser says as whom all pods run; all else is as the restricted Pod Security Standard has it
postgresql: registry.database.existingSecret.name is a Secret with the URL of a PostgreSQL that is there; this chart brings none
priorityClassName: 'each part has its own: operator.priorityClassName, registry.priorityClassName'
prometheusRule: monitoring.prometheusRule.enabled makes alerts
registry.bootstrapServers: registry.kafka.bootstrapServers is the Kafka that the registry reads; each stream names its own in spec.kafka
registry.database.url: registry.database.existingSecret.name is a Secret with the URL of a PostgreSQL that is there; this chart brings none
registry.ingress: 'this chart makes no Ingress: make one to port 8650 of the Service that ends in -registry'
registry.persistence: registry.volume.size and registry.volume.storageClassName say which volume the registry has, registry.volume.existingClaim takes one that is there
registry.postgresql: registry.database.existingSecret.name is a Secret with the URL of a PostgreSQL that is there; this chart brings none
registry.replicaCount: registry.replicas says how many run
registry.storage: registry.volume.size and registry.volume.storageClassName say which volume the registry has, registry.volume.existingClaim takes one that is there
replicaCount: 'registry.replicas says how many registries run; there is one operator, always: two would both decide'
resources: 'each part has its own: operator.resources, registry.resources'
securityContext: podUser says as whom all pods run; all else is as the restricted Pod Security Standard has it
serviceAccount: operator.serviceAccount is the one that the operator has; nothing else asks Kubernetes anything
serviceMonitor: monitoring.podMonitor.enabled makes PodMonitors of all parts
tolerations: 'each part has its own: operator.tolerations, registry.tolerations'
uploader: streams.uploader has what all uploaders have in common
watchNamespaces: operator.namespaces names the namespaces whose streams are looked after, operator.clusterWide=true takes all
{{- end -}}
