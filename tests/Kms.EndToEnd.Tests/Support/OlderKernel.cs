namespace Kms.EndToEnd.Tests.Support;

/// <summary>
/// A kernel from before Linux 6.5, as far as a daemon can see: a filter (seccomp(2)) answers the question for SO_PEERPIDFD, and
/// no other, with ENOPROTOOPT. For x86-64.
/// </summary>
internal static class OlderKernel
{
    private const string Program = """
        #!/usr/bin/python3 -I
        import ctypes, os, struct, sys
        LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06           # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
        GETSOCKOPT, SOL_SOCKET, SO_PEERPIDFD, ENOPROTOOPT = 55, 1, 77, 92
        ALLOW, ERRNO = 0x7fff0000, 0x00050000
        rules = [
            (LOAD, 0, 0, 0), (EQUALS, 0, 5, GETSOCKOPT),  # the call's number
            (LOAD, 0, 0, 24), (EQUALS, 0, 3, SOL_SOCKET), # args[1]
            (LOAD, 0, 0, 32), (EQUALS, 0, 1, SO_PEERPIDFD),
            (RETURN, 0, 0, ERRNO | ENOPROTOOPT), (RETURN, 0, 0, ALLOW)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
            sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
        os.execv("KMSD", ["KMSD"] + sys.argv[1:])
        """;

    /// <summary>Writes a program that runs kmsd there; it takes the same arguments.</summary>
    public static string WriteLauncher(Installation host)
    {
        string path = Path.Combine(host.Path, "kmsd-on-an-older-kernel");
        File.WriteAllText(path, Program.Replace("KMSD", Repository.Kmsd, StringComparison.Ordinal));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return path;
    }
}
