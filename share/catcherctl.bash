# Completion of catcherctl for bash. It needs no function of the bash-completion package.
# A test compares the verbs and options here with those of the command.

_catcherctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} first=1 words=
    COMPREPLY=()
    # Options may stand before the verb.
    while [ "$first" -lt "$COMP_CWORD" ] && [[ ${COMP_WORDS[first]} == -* ]]; do
        first=$((first + 1))
    done
    local verb=${COMP_WORDS[first]}
    case $before in
    --out | --cafile)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --root)
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
        return
        ;;
    --name | --timeout | --days) return ;;
    --key-type)
        mapfile -t COMPREPLY < <(compgen -W "secp521r1 secp384r1 prime256v1 rsa2048 rsa3072 rsa4096" -- "$word")
        return
        ;;
    esac
    if [ "$verb" = help ] && [ "$COMP_CWORD" -gt "$first" ]; then
        first=$((first + 1))
        verb=${COMP_WORDS[first]}
    fi
    if [ "$COMP_CWORD" -eq "$first" ]; then
        words="status mode cert probe tke-guide plan apply help --dry-run --version --help"
    else
        if [ "$verb" = cert ]; then
            verb="cert ${COMP_WORDS[first+1]}"
            [ "$COMP_CWORD" -ne $((first + 1)) ] || verb=cert
        fi
        case $verb in
        status) words="--json --help" ;;
        mode) words="tls tcp --no-restart --dry-run --json --help" ;;
        cert) words="show list check generate request install restore export --help" ;;
        "cert show" | "cert list") words="--json --help" ;;
        "cert check") words="--json --name --help" ;;
        "cert generate") words="--force --name --key-type --days --no-restart --dry-run --json --help" ;;
        "cert request") words="--out --present-key --name --json --help" ;;
        "cert install") words="--name --no-restart --dry-run --json --help" ;;
        "cert restore") words="--no-restart --dry-run --json --help" ;;
        "cert export") words="--json --help" ;;
        probe) words="--name --cafile --timeout --json --help" ;;
        tke-guide) words="tls tcp --json --help" ;;
        plan) words="--root --json --help" ;;
        apply) words="--root --dry-run --json --help" ;;
        esac
        case $verb:$word in
        *:-*) ;;
        "cert install":*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        "cert restore":*)
            # The names of old pairs are the ends of their file names.
            local kept
            mapfile -t kept < <(compgen -G '/opt/IBM/CCA/bin/catcher.crt.2*'
                compgen -G '/var/lib/csulcca/catcher.crt.2*')
            [ "${#kept[@]}" -eq 0 ] || words+=" ${kept[*]##*catcher.crt.}"
            ;;
        "cert export":*) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
        probe:*) mapfile -t COMPREPLY < <(compgen -A hostname -- "$word") ;;
        esac
    fi
    local found
    mapfile -t found < <(compgen -W "$words" -- "$word")
    COMPREPLY+=("${found[@]}")
}
complete -o filenames -F _catcherctl catcherctl
