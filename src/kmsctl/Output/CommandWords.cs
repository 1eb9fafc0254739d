using System.Text.RegularExpressions;

namespace Kmsctl.Output;

/// <summary>The daemon speaks of its methods; whoever sits at the console knows its commands.</summary>
internal static partial class CommandWords
{
    private static readonly Dictionary<string, string> s_commands = new(StringComparer.Ordinal)
    {
        ["crypto.encrypt"] = "encrypt",
        ["crypto.decrypt"] = "decrypt",
        ["crypto.reencrypt"] = "reencrypt",
        ["crypto.reencryptBatch"] = "reencrypt --lines",
        ["crypto.sign"] = "sign",
        ["crypto.verify"] = "verify",
        ["crypto.createDataKey"] = "data-key",
        ["crypto.random"] = "random",
        ["keys.create"] = "key create",
        ["keys.list"] = "key list",
        ["keys.get"] = "key show",
        ["keys.update"] = "key rename",
        ["keys.rotate"] = "key rotate",
        ["keys.setRotationPeriod"] = "key rotation-period",
        ["keys.enable"] = "key enable",
        ["keys.disable"] = "key disable",
        ["keys.requestDeletion"] = "key delete",
        ["keys.cancelDeletion"] = "key undelete",
        ["keys.deleteNow"] = "key delete-now",
        ["keys.getPublicKey"] = "key public-key",
        ["versions.list"] = "version list",
        ["versions.enable"] = "version enable",
        ["versions.disable"] = "version disable",
        ["grants.list"] = "grant list",
        ["grants.add"] = "grant add",
        ["grants.remove"] = "grant remove",
        ["stores.create"] = "store create",
        ["stores.list"] = "store list",
        ["members.list"] = "member list",
        ["members.add"] = "member add",
        ["members.remove"] = "member remove",
        ["history.list"] = "history",
        ["history.verify"] = "history verify",
        ["history.export"] = "history export",
        ["notifications.list"] = "notifications",
        ["notifications.acknowledge"] = "notifications --acknowledge",
        ["notifications.subscribe"] = "notifications --follow",
        ["usage.report"] = "usage",
        ["deletedKeys.list"] = "deleted list",
        ["deletedKeys.history"] = "deleted history",
        ["deletedKeys.purge"] = "deleted purge",
        ["deletions.release"] = "deletions release",
        ["root.status"] = "root status",
        ["root.rotate"] = "root rotate",
        ["root.retire"] = "root retire",
        ["backup.create"] = "backup",
        ["system.status"] = "status",
        ["system.whoAmI"] = "whoami",
        ["system.metrics"] = "metrics",
    };

    /// <summary>The method that a command calls, such as <c>crypto.encrypt</c> of <c>encrypt</c>; null if there is none.</summary>
    public static string? MethodOf(string command) => s_commands.FirstOrDefault(pair => pair.Value == command).Key;

    /// <summary>True of a method that a command calls.</summary>
    public static bool IsMethod(string name) => s_commands.ContainsKey(name);

    /// <summary>A sentence of the daemon, with commands and options where it names methods and their parameters.</summary>
    public static string Translate(string sentence)
    {
        string said = sentence.Replace("confirmName", "--confirm-name", StringComparison.Ordinal);
        return Method().Replace(said, match => s_commands.TryGetValue(match.Value, out string? command) ? $"kmsctl {command}" : match.Value);
    }

    // Not a part of something longer, such as a file's or a unit's name.
    [GeneratedRegex(@"(?<![\w./:@-])[a-zA-Z]+\.[a-zA-Z]+(?![\w/:@-]|\.\w)", RegexOptions.CultureInvariant)]
    private static partial Regex Method();
}
