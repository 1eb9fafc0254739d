using System.CommandLine;
using System.CommandLine.Parsing;
using Kms.Client.Protocol;

namespace Kmsctl.Commands;

/// <summary>Options and arguments that several commands share.</summary>
internal static class CommonOptions
{
    public static Option<bool> Json { get; } = new("--json") { Description = "Answer in JSON, for programs.", Recursive = true };

    public static Option<string?> Socket { get; } = new("--socket")
    {
        Description = "The daemon's socket. Default: $KMSD_SOCKET, else /run/kmsd/kmsd.sock.",
        HelpName = "PATH",
        Recursive = true,
    };

    public static Option<bool> Force { get; } = new("--force") { Description = "Replace the output file if it exists." };

    public static Option<string?> Context { get; } = new("--context")
    {
        Description = "At most 1024 bytes (UTF-8), not secret, that must be given again to decrypt.",
        HelpName = "TEXT",
    };

    public static Option<bool> Yes { get; } = new("--yes") { Description = "Don't ask." };

    public static Argument<string> Key { get; } = new("KEY")
    {
        Description = "A tag, STORE/NAME, or the name of a key in the store 'default'.",
    };

    public static Argument<string> Store { get; } = new("STORE") { Description = "A key store, such as 'default'." };

    public static Argument<string> Principal { get; } = new("PRINCIPAL")
    {
        Description = "uid:1000, gid:34, unit:nginx.service, user:alice or group:backup.",
    };

    public static Argument<string> Input { get; } = new("IN")
    {
        Description = "A file to read; '-', the default, is standard input.",
        DefaultValueFactory = _ => "-",
    };

    public static Argument<T> WireArgument<T>(string name, WireNames<T> names)
        where T : struct, Enum => new(name)
        {
            Description = string.Join(", ", names.All),
            HelpName = name,
            CustomParser = result => Parse(result, names),
        };

    public static Option<T?> WireOption<T>(string name, string description, WireNames<T> names)
        where T : struct, Enum => new(name)
        {
            Description = $"{description} ({string.Join(", ", names.All)})",
            HelpName = name.TrimStart('-').ToUpperInvariant(),
            CustomParser = result => Parse(result, names),
        };

    private static T Parse<T>(ArgumentResult result, WireNames<T> names)
        where T : struct, Enum
    {
        string token = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
        if (!names.TryParse(token, out T value))
        {
            result.AddError($"'{token}' is none of {string.Join(", ", names.All)}");
        }

        return value;
    }
}
