"""Why a block of the docs is `<!-- not run: REASON -->`, or `<!-- not checked: REASON -->`.

The lists are closed. Whoever needs another reason adds it here, with what is missing and who looks instead.
"""

NOT_RUN = {
    "Windows": "Tests run on Linux; the public workflow runs those of what is portable on Windows.",
    "container builder": "`make e2e` builds the images with what there is: docker, podman, buildah.",
    "image registry": "One to push to; the tests' cluster gets its images by a loader.",
    "kind": "It pulls its nodes from a registry; the public workflow runs it.",
    "cert-manager": "It comes from an image registry; what the chart makes for it is rendered.",
    "Prometheus operator": "It comes from an image registry; what the chart makes for it is rendered.",
    "secured Kafka": "A cluster with passwords and certificates of one's own.",
    "PostgreSQL in the cluster": "Tests of their own run registries with one, in a cluster too.",
    "object storage": "A bucket of one's own.",
    "a failed container": "None fails here on purpose.",
    "another program": "Its own manual says how it is used; it is not here.",
}

NOT_CHECKED = {
    "part of a manifest": "Lines to put into a manifest of one's own.",
    "part of a DirectoryStream": "Lines to put into a stream of one's own.",
    "another program's": "Settings of a program that is not ours, and not here to read them.",
}
