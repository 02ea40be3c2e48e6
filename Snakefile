# The workflow lives in workflow/Snakefile; an included file loses its default target, so it is named again here.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
