{{/* What the operator may do with the namespaces that it looks after; docs/operator.md has the same list. */}}
{{- define "penstock.operator.rules" -}}
rules:
  # Read what is declared. The patch is for the finalizer, by which the end of a stream is not missed; RBAC knows no
  # single fields.
  - apiGroups: [penstock.dev]
    resources: [directorystreams]
    verbs: [get, list, watch, patch]
  # Say how each stream is doing.
  - apiGroups: [penstock.dev]
    resources: [directorystreams/status]
    verbs: [patch]
  # Name a stream as the owner of its Deployments, which lets it wait for them: clusters that enforce it ask for this.
  - apiGroups: [penstock.dev]
    resources: [directorystreams/finalizers]
    verbs: [update]
  # Run uploaders and downloaders (server-side apply creates and patches), see foreign edits, remove what a stream no
  # longer has.
  - apiGroups: [apps]
    resources: [deployments]
    verbs: [get, list, watch, create, patch, delete]
  # Find pods that have no sidecar and should, and why others are not ready.
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
  # See whether claims are there, and in which access mode: it limits the number of downloaders.
  - apiGroups: [""]
    resources: [persistentvolumeclaims]
    verbs: [get]
  # Log in to Kafka as the stream does. Which Secrets those are, streams say; they are read one by one, never listed.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [get]
  # Know Kafka's certificate authority, where a stream has it in a ConfigMap.
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [get]
  # Say what happened, for `kubectl describe`.
  - apiGroups: [""]
    resources: [events]
    verbs: [create]
{{- end -}}

{{/* What it may do in all namespaces of the cluster, besides; docs/operator.md has the same list. */}}
{{- define "penstock.operator.rulesEverywhere" -}}
rules:
  # Let go of a stream whose namespace ends: Kubernetes deletes the Role there without waiting for the stream, and
  # nobody else would take the finalizer off. See that no stream of another namespace names a topic before it is
  # deleted. No watch: what happens elsewhere is not followed.
  - apiGroups: [penstock.dev]
    resources: [directorystreams]
    verbs: [get, list, patch]
{{- end -}}
