# Completions of fish for ctnbpf: `ctnbpf complete` says what there is.

function __ctnbpf_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l reply (command $words[1] complete -- $words[2..] (string unescape -- $current; or echo $current) 2>/dev/null)
    switch "$reply[1]"
        case ':files'
            __fish_complete_path "$current"
        case ':directories'
            __fish_complete_directories "$current" ''
        case ':command *'
            set -l first (math (string split ' ' -- $reply[1])[2] + 2)
            complete -C (string join ' ' -- (string escape -- $words[$first..]) "$current")
        case '*'
            string join \n -- $reply
    end
end

complete -c ctnbpf -f -a '(__ctnbpf_complete)'
