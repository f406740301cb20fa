{{/* What all pods of the chart have in common. */}}
{{- define "penstock.pod" -}}
# A Service called penstock-... must not set variables that look like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .Values.podUser }}
  runAsUser: {{ . | int64 }}
  runAsGroup: {{ . | int64 }}
  # Volumes, keys and tokens are for this group.
  fsGroup: {{ . | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where a pod goes, as far as the part's values say: .Values.operator */}}
{{- define "penstock.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a container may do. */}}
{{- define "penstock.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* How a service is asked whether it lives, at its metrics' port. */}}
{{- define "penstock.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* Mode of mounted files that are for our group alone. Where the cluster chooses the user it may choose no fsGroup,
     and the group is root's. */}}
{{- define "penstock.secretMode" -}}
{{- ternary "0440" "0444" (ne (int64 .Values.podUser) 0) -}}
{{- end -}}
