using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Configuration;
using Kmsd.RootKeys;

namespace Kmsd.Commands;

/// <summary><c>kmsd token probe</c>: what the token is, whether it can hold a root key, and which keys of protection <c>hsm</c>.</summary>
internal static class ProbeToken
{
    public static void Run(CommandLine arguments, TextWriter output)
    {
        DaemonOptions options = Preparation.ReadOptions(arguments.ConfigurationFile);

        // Its self-test says whether it can hold a root key; whatever it lacks for that is an exception.
        (Token token, _) = Preparation.OpenToken(options);
        using (token)
        {
            TokenDescription description = token.Description;
            output.WriteLine($"token: '{description.Label}', serial {description.Serial}, {description.Manufacturer} {description.Model}, firmware {description.Firmware}");
            output.WriteLine("root key and protection software: yes (AES-GCM, AES key wrap and HMAC-SHA-256 were tried)");
            foreach (KeyType type in new[] { KeyType.Aes256Gcm96, KeyType.Rsa2048, KeyType.EcdsaP256 })
            {
                string? missing = TokenAccess.Try(() => token.FindMissing(HeldKeyBinding.TypeOf(type)));
                output.WriteLine($"protection hsm, {Wire.KeyTypes[type]}: {(missing is null ? "yes" : $"no, it lacks {missing}")}");
            }

            IReadOnlyList<string> keys = TokenAccess.Try(token.FindRootObjects);
            output.WriteLine($"root keys in it: {(keys.Count == 0 ? "none" : string.Join(", ", keys))}");
        }
    }
}
